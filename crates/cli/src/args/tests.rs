//! What can be typed, and what it means.

use clap::{CommandFactory as _, Parser as _};

use webnibble_common::options::ROWS;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::Granularity;

use super::*;

fn parse(words: &str) -> Result<Command, String> {
    let words = ["webnibble"].into_iter().chain(words.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.to_string())
}

#[test]
fn the_arguments_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn one_browser_is_named_once_and_some_are_a_list() {
    for words in ["run --text a --chrome --firefox", "run --text a --browser chrome --edge"] {
        assert!(parse(words).is_err(), "{words}");
    }
    for words in
        ["doctor --browser chrome,firefox", "verify --browser chrome --browser firefox", "bench --chrome --firefox"]
    {
        let kinds = match parse(words) {
            Ok(Command::Doctor(args)) => args.launch.kinds(),
            Ok(Command::Verify(args)) => args.launch.kinds(),
            Ok(Command::Bench(args)) => args.launch.kinds(),
            other => panic!("{words}: {other:?}"),
        };
        assert_eq!(kinds, [BrowserKind::Chrome, BrowserKind::Firefox], "{words}");
    }
}

#[test]
fn verify_takes_how_the_model_is_computed() {
    let words =
        "verify --portable-kernels --chunked-operations --experimental-precision --execution-provider gpu --threads 2";
    let Ok(Command::Verify(args)) = parse(words) else { panic!("these are arguments of verify") };
    let settings = args.settings();
    let switches = [settings.portable_kernels, settings.chunked_operations, settings.experimental_precision];
    assert_eq!((switches, settings.threads), ([Some(true); 3], Some(2)));
    assert_eq!((settings.bits, settings.half_tiles), (Some(Bits::B4), None));
}

/// By its row, or by hand where commands differ. A granularity is three options: a size, and two switches.
#[test]
fn every_row_is_an_option_of_run_with_its_help() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    for row in ROWS.iter().filter(|row| row.name != "granularity") {
        let flag = row.flag();
        let arg =
            run.get_arguments().find(|arg| arg.get_long() == Some(&flag)).unwrap_or_else(|| panic!("no --{flag}"));
        assert_eq!(arg.get_help().unwrap().to_string(), row.help());
        let no = run.get_arguments().any(|arg| arg.get_long() == Some(&format!("no-{flag}")));
        assert_eq!(no, row.value_name.is_none(), "{flag}");
    }
}

#[test]
fn of_a_switch_the_last_form_counts_and_values_are_those_of_the_row() {
    let settings = |words: &str| match parse(&format!("run --text a {words}")) {
        Ok(Command::Run(args)) => Ok(args.execution.options().settings),
        Ok(other) => panic!("{words}: {other:?}"),
        Err(error) => Err(error),
    };
    for (words, half_tiles) in [
        ("", None),
        ("--half-tiles", Some(true)),
        ("--half-tiles --no-half-tiles", Some(false)),
        ("--no-half-tiles --half-tiles", Some(true)),
    ] {
        assert_eq!(settings(words).unwrap(), Settings { half_tiles, ..Settings::NONE }, "{words}");
    }
    for (words, mixed_precision) in [("--mixed-precision --no-mixed-precision", false), ("--mixed-precision", true)] {
        assert_eq!(settings(words).unwrap().mixed_precision, Some(mixed_precision), "{words}");
    }
    let many =
        settings("--workgroup-size 64,1,1 --lowering int8 --attention-bits 4 --group-size 32 --threads 3").unwrap();
    let expected = Settings {
        workgroup_size: Some([64, 1, 1]),
        lowering: Some("int8".into()),
        attention_bits: Some(Bits::B4),
        granularity: Some(Granularity::Group(32)),
        threads: Some(3),
        ..Settings::NONE
    };
    assert_eq!(many, expected);
    for (words, expected) in [
        ("--workgroup-size 1,2", "'--workgroup-size <X,Y,Z>': expected three numbers such as 256,1,1"),
        ("--attention-bits 3", "'--attention-bits <N>': bits should be 2, 4, 8, 16 or 32, found 3"),
        ("--execution-provider tpu", "execution provider should be one of cpu, gpu, npu, found `tpu`"),
    ] {
        let error = settings(words).unwrap_err();
        assert!(error.contains(expected), "{words}: {error}");
    }
}

#[test]
fn the_demonstration_says_why_it_takes_no_webnn() {
    let error = parse("demo --platform webnn").unwrap_err();
    assert!(error.contains("16, 8, 4 and 2 bits") && error.contains("run --platform webnn"), "{error}");
}

#[test]
fn eval_takes_how_a_page_computes_where_one_does() {
    let eval = |words: &str| match parse(&format!("eval --data d {words}")) {
        Ok(Command::Eval(args)) => args,
        other => panic!("{words}: {other:?}"),
    };
    let args = eval("--platform webgpu --portable-kernels");
    assert_eq!((args.options().settings.portable_kernels, args.lacks_platform()), (Some(true), false));
    assert!(eval("--portable-kernels").lacks_platform() && !eval("--scheme asymmetric").lacks_platform());
    assert!(parse("eval --data d --threads 2").is_err());
}

#[test]
fn serve_takes_a_name_with_its_port() {
    let address = |text: &str| match parse(&format!("serve --addr {text}")) {
        Ok(Command::Serve(args)) => Ok(args.addr),
        other => Err(format!("{other:?}")),
    };
    for text in ["localhost:0", "127.0.0.1:0", "[::1]:8000"] {
        assert!(address(text).unwrap().ip().is_loopback(), "{text}");
    }
    for text in ["localhost", "8000", "no.such.name.invalid:0"] {
        assert!(address(text).unwrap_err().contains("localhost:0"), "{text}");
    }
}

#[test]
fn texts_come_from_one_place_and_may_be_cut() {
    let run = |words: &str| match parse(&format!("run {words}")) {
        Ok(Command::Run(args)) => Ok(args),
        Ok(other) => panic!("{words}: {other:?}"),
        Err(error) => Err(error),
    };
    for words in ["--text a b --text c --truncate", "--text-file - --truncate", "--ids file --truncate"] {
        assert!(run(words).is_ok_and(|args| args.truncate), "{words}");
    }
    for words in ["--text a --text-file f", "--ids f --text-file f", "--input f.json --truncate", "--truncate"] {
        assert!(run(words).is_err(), "{words}");
    }
    assert_eq!(run("--text a b --text c").unwrap().text, ["a", "b", "c"]);
}

#[test]
fn a_prompt_is_named_or_left_out() {
    let choice = |words: &str| match parse(&format!("run --text a {words}")) {
        Ok(Command::Run(args)) => Some(args.prompts.choice()),
        _ => None,
    };
    assert_eq!(choice(""), Some(PromptChoice::Default));
    assert_eq!(choice("--no-prompt-name"), Some(PromptChoice::None));
    assert_eq!(choice("--prompt-name query"), Some(PromptChoice::Named("query".into())));
    assert_eq!(choice("--prompt-name query --no-prompt-name"), None);
}
