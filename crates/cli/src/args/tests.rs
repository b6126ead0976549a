//! What can be typed, and what it means.

use clap::{CommandFactory as _, Parser as _};

use webnibble_common::prompt::PromptChoice;

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
