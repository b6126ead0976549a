//! The row of each browser.

use webnibble_common::options::BrowserKind;

use super::vendor::Vendor;
use super::{chromium, firefox, webkit};

/// The row of a browser.
pub(super) fn vendor(kind: BrowserKind) -> &'static Vendor {
    match kind {
        BrowserKind::Chrome => &chromium::CHROME,
        BrowserKind::Edge => &chromium::EDGE,
        BrowserKind::Firefox => &firefox::FIREFOX,
        BrowserKind::Safari => &webkit::SAFARI,
        BrowserKind::Webkit => &webkit::WEBKIT_GTK,
    }
}
