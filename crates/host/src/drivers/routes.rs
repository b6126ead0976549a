//! The ways to come by a driver, as data: which of them are tried for which browser, best first.

use webnibble_common::options::BrowserKind;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Only for a browser whose path has this word in it: a system's packages fit the browser that it ships, and no other.
    pub(super) of: Option<&'static str>,
    /// What is done.
    pub(super) way: Way,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Packages of the system.
    Packages(&'static Manager, &'static [&'static str]),
    /// A program from crates.io, into a folder of ours.
    Cargo(&'static str),
    /// What Chrome for Testing has for the browser's version, into a folder of ours.
    ChromeForTesting,
    /// What Microsoft has for the browser's version, into a folder of ours.
    EdgeDriver,
    /// A driver that is there, and has to be allowed.
    Allow(&'static [&'static str]),
}

/// A package manager.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manager {
    /// Its program.
    pub(super) program: &'static str,
    /// What makes it learn of new versions; empty where it does by itself.
    pub(super) refresh: &'static [&'static str],
    /// What comes before the packages' names.
    pub(super) install: &'static [&'static str],
    /// Whether it needs all rights.
    pub(super) as_root: bool,
}

const APT: Manager = Manager {
    program: "apt-get",
    refresh: &["update", "-qq"],
    install: &["install", "-y", "-qq", "--no-install-recommends"],
    as_root: true,
};
const DNF: Manager = Manager { program: "dnf", refresh: &[], install: &["install", "-y", "-q"], as_root: true };
const PACMAN: Manager = Manager { program: "pacman", refresh: &[], install: &["-S", "--noconfirm"], as_root: true };
const BREW: Manager = Manager { program: "brew", refresh: &[], install: &["install"], as_root: false };

const fn any(way: Way) -> Route {
    Route { of: None, way }
}

const fn chromium(way: Way) -> Route {
    Route { of: Some("chromium"), way }
}

const CHROME: &[Route] = &[
    chromium(Way::Packages(&APT, &["chromium-driver"])),
    chromium(Way::Packages(&DNF, &["chromedriver"])),
    // It has the driver beside the browser.
    chromium(Way::Packages(&PACMAN, &["chromium"])),
    any(Way::ChromeForTesting),
];
const EDGE: &[Route] = &[any(Way::EdgeDriver)];
const FIREFOX: &[Route] = &[
    any(Way::Packages(&BREW, &["geckodriver"])),
    any(Way::Packages(&PACMAN, &["geckodriver"])),
    any(Way::Cargo("geckodriver")),
];
const SAFARI: &[Route] = &[any(Way::Allow(&["safaridriver", "--enable"]))];
const WEBKIT: &[Route] = &[any(Way::Packages(&APT, &["webkit2gtk-driver", "xvfb"]))];

/// The routes of a browser's driver, best first.
pub(super) fn routes(kind: BrowserKind) -> &'static [Route] {
    match kind {
        BrowserKind::Chrome => CHROME,
        BrowserKind::Edge => EDGE,
        BrowserKind::Firefox => FIREFOX,
        BrowserKind::Safari => SAFARI,
        BrowserKind::Webkit => WEBKIT,
    }
}

impl Way {
    /// The program that must be there for it.
    pub(super) fn program(&self) -> Option<&'static str> {
        match self {
            Way::Packages(manager, _) => Some(manager.program),
            Way::Cargo(_) => Some("cargo"),
            Way::Allow(command) => command.first().copied(),
            Way::ChromeForTesting | Way::EdgeDriver => None,
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Packages(manager, names) => write!(f, "{} {}", manager.program, names.join(" ")),
            Way::Cargo(name) => write!(f, "cargo install {name}"),
            Way::ChromeForTesting => f.write_str("download from Chrome for Testing"),
            Way::EdgeDriver => f.write_str("download from Microsoft"),
            Way::Allow(command) => f.write_str(&command.join(" ")),
        }
    }
}
