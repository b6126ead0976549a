//! What a browser is shown on: the user's display, one of its own, or nothing.

use super::error::BrowserError;
use super::vendor::{Headless, Vendor};

/// Whether somebody may look at windows of this process's user.
pub(super) fn has_display() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| display(name).is_some())
}

/// The display that a variable names.
pub(super) fn display(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a window that is asked for can be shown; only where windows are those of X11 or Wayland is it known beforehand.
pub(super) fn check_display(vendor: &Vendor, headless: bool, has_display: bool) -> Result<(), BrowserError> {
    let by_variables = cfg!(all(unix, not(target_os = "macos")));
    if by_variables && vendor.headless == Headless::Mode && !headless && !has_display {
        return Err(BrowserError::NoDisplay { browser: vendor.name.into() });
    }
    Ok(())
}

/// Whether a browser that has windows whatever it is told is given a display of its own: where nobody is to see them, and
/// where there is no other.
pub(super) fn own_display(
    vendor: &Vendor,
    headless: bool,
    has_display: bool,
    has_server: impl FnOnce() -> bool,
) -> Result<bool, BrowserError> {
    if vendor.headless != Headless::OwnDisplay || (!headless && has_display) {
        return Ok(false);
    }
    if has_server() {
        return Ok(true);
    }
    let hint = match has_display {
        true => "install it (Debian: `apt-get install xvfb`), or take --headed",
        false => "install it (Debian: `apt-get install xvfb`), or set DISPLAY and take --headed",
    };
    Err(BrowserError::NotFound {
        browser: format!("Xvfb, the display that {} needs where nobody is to see its windows", vendor.name),
        looked: vec!["Xvfb on PATH".into()],
        hint: hint.into(),
    })
}

/// Whether nobody sees a window of a browser that is started so.
pub(super) fn is_headless(vendor: &Vendor, wanted: bool, own_display: bool) -> bool {
    match vendor.headless {
        Headless::Mode => wanted,
        Headless::OwnDisplay => own_display,
        Headless::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::options::BrowserKind;

    use super::*;
    use crate::browser::table::vendor;
    use crate::error::Failure as _;

    /// What comes of a wish for a browser without a window: whether it gets a display of its own, and is headless.
    fn started(kind: BrowserKind, wanted: bool, has_display: bool) -> (bool, bool) {
        let vendor = vendor(kind);
        let own = own_display(vendor, wanted, has_display, || true).unwrap();
        (own, is_headless(vendor, wanted, own))
    }

    #[test]
    fn headless_is_what_was_done_and_not_what_was_asked_for() {
        for (wanted, has_display) in [(true, true), (true, false), (false, true), (false, false)] {
            for kind in [BrowserKind::Chrome, BrowserKind::Edge, BrowserKind::Firefox] {
                assert_eq!(started(kind, wanted, has_display), (false, wanted), "{kind}");
            }
            assert_eq!(started(BrowserKind::Safari, wanted, has_display), (false, false));
        }
        // A window only where one was asked for and can be seen.
        assert_eq!(started(BrowserKind::Webkit, true, true), (true, true));
        assert_eq!(started(BrowserKind::Webkit, true, false), (true, true));
        assert_eq!(started(BrowserKind::Webkit, false, false), (true, true));
        assert_eq!(started(BrowserKind::Webkit, false, true), (false, false));
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn a_window_without_a_display_is_an_error_that_says_what_helps() {
        for kind in [BrowserKind::Chrome, BrowserKind::Edge, BrowserKind::Firefox] {
            let error = check_display(vendor(kind), false, false).unwrap_err();
            assert_eq!(error.code(), "no_display");
            assert!(error.hint().contains("xvfb-run") && error.hint().contains("--headed"), "{}", error.hint());
            check_display(vendor(kind), false, true).unwrap();
            check_display(vendor(kind), true, false).unwrap();
        }
        // It gets a display of its own.
        check_display(vendor(BrowserKind::Webkit), false, false).unwrap();
    }

    #[test]
    fn a_display_that_cannot_be_made_is_named() {
        let webkit = vendor(BrowserKind::Webkit);
        let error = own_display(webkit, true, true, || false).unwrap_err();
        assert_eq!(error.code(), "browser_not_found");
        assert!(error.hint().contains("--headed") && error.to_string().contains("Xvfb"), "{error}");
        assert!(!own_display(webkit, false, true, || false).unwrap());
    }
}
