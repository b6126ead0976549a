//! From the rows of the table to the types that hold the options, and to the list of rows.

/// Makes of rows: `Settings` (what a caller asked for), `ResolvedSettings` (a value for each option, and where it comes
/// from), `PageSettings` (what is sent to the page) and `ROWS`.
///
/// A row is `name: Type = default => Heading, page: how, effect: where;` under its help text:
/// - `default` is one word, or stands in brackets; `none` where an option may have no value;
/// - `page` is left out where the page has no use for the option. `its_value` sends the resolved value. `if_chosen` sends it
///   where somebody chose it: otherwise the page decides by what it finds. `as "…"` narrows the type in TypeScript;
/// - `effect` is left out where the option does something on every platform, by every engine.
macro_rules! options {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $type:ty = $default:tt => $heading:ident
            $(, page: $sent:ident $(as $typescript:literal)?)?
            $(, effect: $effect:expr)?;
    )*) => {
        /// Options that depend on the model and on the browser, as a caller asked for them. What was not asked for,
        /// [`resolve`](crate::profiles::resolve) finds.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Settings {
            $($(#[doc = $help])+ pub $name: Option<$type>,)*
        }

        impl Settings {
            /// Nothing asked for.
            pub const NONE: Self = Self { $($name: None,)* };

            /// These; where nothing was asked for here, those of `other`.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }
        }

        /// A value for every field of [`Settings`], each with its source.
        #[derive(Clone, Debug, PartialEq)]
        pub struct ResolvedSettings {
            $($(#[doc = $help])+ pub $name: Sourced<resolved_type!($type, $default)>,)*
        }

        impl ResolvedSettings {
            /// Of each option the value of the first layer that has one, else the program's default.
            pub fn lay(layers: &[(Source, Settings)]) -> Self {
                Self { $($name: first(layers, |layer| layer.$name.clone(), default_value!($default)),)* }
            }

            /// What of it is sent to the page.
            pub fn for_page(&self) -> PageSettings {
                PageSettings { $($($name: sent!($sent, self.$name),)?)* }
            }

            /// Shows every option with its row and the program's default to a visitor, which may change it.
            pub(crate) fn visit(&mut self, visitor: &mut impl Visitor) {
                $(visitor.visit(row(stringify!($name)), &mut self.$name, default_value!($default));)*
            }

            /// Every option for the record.
            pub(crate) fn record(&self) -> BTreeMap<String, OptionValue> {
                [$((stringify!($name).to_owned(), self.$name.clone().into())),*].into()
            }
        }

        /// Options that the page is given, by the names that they have in [`Settings`].
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct PageSettings {
            $($(#[doc = concat!("See [`Settings::", stringify!($name), "`].")] pub $name: page_type!($sent, $type, $default),)?)*
        }

        impl Default for PageSettings {
            /// Nothing chosen.
            fn default() -> Self {
                ResolvedSettings::lay(&[]).for_page()
            }
        }

        /// All options of [`Settings`], in the order in which help lists them.
        pub const ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            text: concat!($($help),+),
            heading: Heading::$heading,
            value_name: <$type as OptionType>::VALUE_NAME,
            typescript: if_any!($(typescript!($sent, $type $(, $typescript)?))?),
            effect: if_any!($($effect)?),
            choose: |text| Ok(Settings { $name: Some(<$type as OptionType>::parse(text)?), ..Settings::NONE }),
        },)*];
    };
}

/// The type of a resolved option.
macro_rules! resolved_type {
    ($type:ty, none) => { Option<$type> };
    ($type:ty, $default:tt) => { $type };
}

/// The value of an option that nobody chose.
macro_rules! default_value {
    (none) => {
        None
    };
    (($default:expr)) => {
        $default
    };
    ($default:tt) => {
        $default
    };
}

/// The type of an option as the page has it.
macro_rules! page_type {
    (its_value, $type:ty, $default:tt) => { resolved_type!($type, $default) };
    (if_chosen, $type:ty, $default:tt) => { Option<$type> };
}

/// An option as it is sent to the page.
macro_rules! sent {
    (its_value, $option:expr) => {
        $option.value.clone()
    };
    (if_chosen, $option:expr) => {
        $option.chosen().cloned()
    };
}

/// The type that TypeScript gives an option.
macro_rules! typescript {
    ($sent:ident, $type:ty) => {
        <$type as OptionType>::TYPESCRIPT
    };
    ($sent:ident, $type:ty, $narrower:literal) => {
        $narrower
    };
}

/// What is there, or nothing.
macro_rules! if_any {
    () => { None };
    ($($there:tt)+) => { Some($($there)+) };
}
