//! A header in front of a session: no panic, exactly the header taken however it is cut, and nothing that is written
//! from what was read says anything else.
#![no_main]

use mailward::proto::{
    Connection,
    proxy_header::{Header, LONGEST, Version, extent, read, write},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    take(data);
    // Most inputs have another first byte.
    take(&[b"PROXY TCP4 ", data].concat());
    take(&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", data].concat());
});

fn take(data: &[u8]) {
    let found = extent(data);
    let Ok(Some(length)) = found else {
        assert!(found.is_err() || data.len() < LONGEST);
        return;
    };
    assert!(length <= LONGEST && length <= data.len());
    assert_eq!(extent(&data[..length]), Ok(Some(length)));
    (0..length).for_each(|end| assert_eq!(extent(&data[..end]), Ok(None)));
    let Ok(Header { ends: Some((source, destination)), .. }) = read(&data[..length]) else { return };
    for version in [Version::V1, Version::V2] {
        let header = write(version, Some(&Connection { source, destination, tls: None }));
        let again = read(&header).expect("what is written can be read").ends.expect("the addresses");
        assert_eq!((extent(&header), again.0), (Ok(Some(header.len())), source));
    }
}
