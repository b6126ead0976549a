//! Options that come from the rows of the table: under one heading all of them, each with its help.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use webnibble_common::options::{Heading, ROWS, Row, Settings};

use super::switch::switch;

/// The heading of what says how weights are quantized.
pub(crate) const QUANTIZATION: &str = "Quantization (each switch also as --no-…)";

/// The heading of what says how a model is computed.
pub(crate) const EXECUTION: &str = "Execution (each switch also as --no-…)";

/// What of the quantization is one value also where others are lists.
pub(crate) type PrecisionArgs = RowArgs<Quantization>;

/// How a model is computed in the page.
pub(crate) type EngineArgs = RowArgs<Execution>;

/// A heading of the table's rows.
pub(crate) trait Under {
    /// Which rows.
    const ROWS_OF: Heading;
    /// What help calls them.
    const TITLE: &'static str;
}

/// Rows of the quantization.
#[derive(Clone, Debug)]
pub(crate) struct Quantization;

impl Under for Quantization {
    const ROWS_OF: Heading = Heading::Quantization;
    const TITLE: &'static str = QUANTIZATION;
}

/// Rows of the execution.
#[derive(Clone, Debug)]
pub(crate) struct Execution;

impl Under for Execution {
    const ROWS_OF: Heading = Heading::Execution;
    const TITLE: &'static str = EXECUTION;
}

/// The options of one heading, as they were typed.
#[derive(Clone, Debug)]
pub(crate) struct RowArgs<U> {
    settings: Settings,
    under: PhantomData<U>,
}

impl<U> RowArgs<U> {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }
}

impl<U: Under> Args for RowArgs<U> {
    fn augment_args(command: Command) -> Command {
        rows::<U>().flat_map(args_of).fold(command.next_help_heading(U::TITLE), Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<U: Under> FromArgMatches for RowArgs<U> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed = rows::<U>().filter_map(|row| typed(row, matches));
        Ok(Self { settings: typed.fold(Settings::NONE, Settings::or), under: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn rows<U: Under>() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.heading == U::ROWS_OF)
}

/// An option with a value; or a switch, and its `--no-` form, of which the last that is typed counts.
fn args_of(row: &'static Row) -> Vec<Arg> {
    let arg = Arg::new(row.name).long(row.flag()).help(row.help());
    match row.value_name {
        Some(name) => vec![arg.value_name(name).value_parser(|text: &str| row.choose(text))],
        None => {
            let no = Arg::new(no(row)).long(format!("no-{}", row.flag())).hide(true);
            vec![arg.action(ArgAction::SetTrue).overrides_with(no.get_id()), no.action(ArgAction::SetTrue)]
        }
    }
}

/// What clap calls the `--no-` form of a switch.
fn no(row: &Row) -> String {
    format!("no_{}", row.name)
}

/// The option alone, if it was typed.
fn typed(row: &Row, matches: &ArgMatches) -> Option<Settings> {
    if row.value_name.is_some() {
        return matches.get_one(row.name).cloned();
    }
    let on = switch(matches.get_flag(row.name), matches.get_flag(&no(row)))?;
    Some(row.choose(&on.to_string()).expect("a switch is true or false"))
}
