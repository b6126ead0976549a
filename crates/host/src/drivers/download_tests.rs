use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// An archive as vendors pack them: the program in a folder, with other files.
fn archive(program: &str, contents: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in [("driver-x/LICENSE", &b"words"[..]), (program, contents)] {
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A server that has these files and no others; its address.
fn server(files: Vec<(String, Vec<u8>)>) -> String {
    server_with(files, "")
}

/// The same, which sends more headers.
fn server_with(files: Vec<(String, Vec<u8>)>, more: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = files.iter().find(|(name, _)| name == path);
            let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, bytes)| ("200 OK", bytes));
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len());
            let mut stream = reader.into_inner();
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

#[test]
fn chromedriver_comes_for_the_build_else_for_the_major_version() {
    let Some(platform) = chrome_platform() else { return };
    let file_name = format!("chromedriver{}", std::env::consts::EXE_SUFFIX);
    let file = |version: &str| format!("/chrome-for-testing-public/{version}/{platform}/chromedriver-{platform}.zip");
    let mirror = server(vec![
        ("/chrome-for-testing/LATEST_RELEASE_156.0.8078".into(), b"156.0.8078.93\n".to_vec()),
        ("/chrome-for-testing/LATEST_RELEASE_155".into(), b"155.0.1.2".to_vec()),
        (file("156.0.8078.93"), archive(&format!("chromedriver-x/{file_name}"), b"of the build")),
        (file("155.0.1.2"), archive(&format!("chromedriver-x/{file_name}"), b"of the version")),
    ]);
    let (sources, folder) = (Sources::of(Some(&format!("{mirror}/"))), tempfile::tempdir().unwrap());
    for (browser, version, contents) in
        [("156.0.8078.79", "156.0.8078.93", "of the build"), ("155.0.9.9", "155.0.1.2", "of the version")]
    {
        let path = sources.chromedriver(browser, folder.path()).unwrap();
        assert_eq!(path, folder.path().join(format!("chromedriver-{version}")).join(&file_name));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        }
        // Once more, over what is there.
        assert_eq!(sources.chromedriver(browser, folder.path()).unwrap(), path);
    }
    let error = sources.chromedriver("1.2.3.4", folder.path()).unwrap_err();
    assert!(error.contains("LATEST_RELEASE_1") && error.contains("404"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing half done lies about");
}

#[test]
fn edges_driver_is_of_its_very_version() {
    let Some(platform) = edge_platform() else { return };
    let file_name = format!("msedgedriver{}", std::env::consts::EXE_SUFFIX);
    let mirror =
        server(vec![(format!("/msedgedriver/150.0.1.2/edgedriver_{platform}.zip"), archive(&file_name, b"edge"))]);
    let (sources, folder) = (Sources::of(Some(&mirror)), tempfile::tempdir().unwrap());
    let path = sources.edgedriver("150.0.1.2", folder.path()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"edge");
    assert!(sources.edgedriver("150.0.1.3", folder.path()).unwrap_err().contains("150.0.1.3"));
}

#[test]
fn what_is_no_driver_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = unpack(b"<html>sign in</html>", "chromedriver", "1.2", folder.path()).unwrap_err();
    assert!(error.contains("expected an archive"), "{error}");
    let error = unpack(&archive("other", b"x"), "chromedriver", "1.2", folder.path()).unwrap_err();
    assert!(error.contains("expected chromedriver"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(version_in("../../etc").is_err() && version_in("").is_err() && version_in("1/../2").is_err());
    assert_eq!(version_in(" 156.0.1.2\n").unwrap(), "156.0.1.2");
}

#[test]
fn a_version_that_is_none_goes_into_no_address() {
    // Nobody listens there, and nobody is asked.
    let (sources, folder) = (Sources::of(Some("http://127.0.0.1:1")), tempfile::tempdir().unwrap());
    for version in ["", "150/../evil", "150.0?x=1", "150.0.1.2@host", "one.two"] {
        for error in [sources.edgedriver(version, folder.path()), sources.chromedriver(version, folder.path())] {
            assert!(error.unwrap_err().contains("expected a version"), "{version}");
        }
    }
}

#[test]
fn a_checksum_that_comes_with_a_file_is_compared() {
    let told = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.append(name, value.parse().unwrap());
        headers
    };
    // From `printf hello | openssl md5 -binary | base64`.
    let (hello, sum) = (&b"hello"[..], "XUFAKrxLKna5cZ2REBfFkg==");
    for headers in [
        HeaderMap::new(),
        told("content-md5", sum),
        told("x-goog-hash", &format!("crc32c=mnG7TA==,md5={sum}")),
        told("x-goog-hash", "crc32c=mnG7TA=="),
    ] {
        check_sum(&headers, hello).unwrap();
    }
    let mut two = told("x-goog-hash", "crc32c=mnG7TA==");
    two.append("x-goog-hash", "md5=AAAAKrxLKna5cZ2REBfFkg==".parse().unwrap());
    for headers in [two, told("content-md5", "AAAAKrxLKna5cZ2REBfFkg=="), told("content-md5", "nonsense")] {
        let error = check_sum(&headers, hello).unwrap_err();
        assert!(error.contains(sum), "{error}");
    }
}

#[test]
fn an_archive_with_another_checksum_is_not_unpacked() {
    let Some(platform) = edge_platform() else { return };
    let file_name = format!("msedgedriver{}", std::env::consts::EXE_SUFFIX);
    let path = format!("/msedgedriver/150.0.1.2/edgedriver_{platform}.zip");
    let mirror = server_with(vec![(path, archive(&file_name, b"edge"))], "Content-MD5: AAAAKrxLKna5cZ2REBfFkg==\r\n");
    let (sources, folder) = (Sources::of(Some(&mirror)), tempfile::tempdir().unwrap());
    assert!(sources.edgedriver("150.0.1.2", folder.path()).unwrap_err().contains("MD5"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
