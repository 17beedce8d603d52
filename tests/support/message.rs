//! Messages that are hard to carry unchanged.

/// A message of at least `size` bytes with CRLF line ends: lines of every length up to the 998 of RFC 5322 §2.1.1, leading dots,
/// lines of dots alone, trailing blanks, empty lines, bytes above 127. The same subject and size give the same message.
pub fn message(subject: &str, size: usize) -> Vec<u8> {
    let mut message = format!(
        "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{}.{size}@sender.example.net>\r\n\
         From: Bob <bob@example.net>\r\nTo: Alice <alice@example.org>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        subject.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
    )
    .into_bytes();
    message.extend_from_slice(
        b".\r\n..\r\n...dots\r\n. \r\n\r\nblanks at the end \t \r\nQUIT\r\nRSET\r\nFrom here on\r\n",
    );
    let mut length = 0;
    while message.len() < size {
        length = (length + 389) % 999;
        message.extend(line(length));
    }
    message
}

/// A line of this many bytes, at most 998, and its end. Its text is valid UTF-8.
fn line(length: usize) -> impl Iterator<Item = u8> {
    let (dot, text) = (length % 7 == 1, length.saturating_sub(usize::from(length % 7 == 1)));
    let umlauts = "é".bytes().cycle().take(text / 3 * 2);
    let letters = (b'a'..=b'z').cycle().take(text - text / 3 * 2);
    dot.then_some(b'.').into_iter().chain(umlauts).chain(letters).chain(*b"\r\n")
}

/// A message with CRLF line ends as DATA carries it: leading dots doubled and the final dot added (RFC 5321 §4.5.2).
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + message.len() / 50 + 3);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        stuffed.extend(line.starts_with(b".").then_some(b'.'));
        stuffed.extend_from_slice(line);
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

/// Asserts that what arrived is the message that was sent, byte for byte, below the header fields that servers put on top.
#[track_caller]
pub fn assert_carries(arrived: &[u8], sent: &[u8]) {
    if arrived.ends_with(sent) {
        let added = &arrived[..arrived.len() - sent.len()];
        assert!(added.is_empty() || added.ends_with(b"\r\n"), "the added header fields end in the middle of a line");
        return;
    }
    let equal = arrived.iter().rev().zip(sent.iter().rev()).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let at = bytes.len() - equal;
        String::from_utf8_lossy(&bytes[at.saturating_sub(80)..(at + 80).min(bytes.len())]).into_owned()
    };
    panic!(
        "{} bytes were sent, {} arrived, the last {equal} are equal\nsent:    {:?}\narrived: {:?}",
        sent.len(),
        arrived.len(),
        around(sent),
        around(arrived),
    );
}

/// What is wrong with a message as it arrived: it is to be what was sent, behind so many `Received` fields.
pub fn trace_is_wrong(arrived: &[u8], sent: &[u8], received: usize) -> Option<String> {
    let Some(trace) = arrived.strip_suffix(sent) else {
        let equal = arrived.iter().rev().zip(sent.iter().rev()).take_while(|(a, b)| a == b).count();
        let (sent, arrived) = (sent.len(), arrived.len());
        return Some(format!("{arrived} bytes arrived of {sent}, the last {equal} are equal"));
    };
    let trace = String::from_utf8_lossy(trace);
    let (starts, rest): (Vec<_>, Vec<_>) =
        trace.split_inclusive("\r\n").partition(|line| line.starts_with("Received: "));
    let folded = |line: &&str| line.starts_with([' ', '\t']) && line.ends_with("\r\n");
    let fits = starts.len() == received && rest.iter().all(folded) && trace.starts_with("Received: ");
    (!fits).then(|| format!("{received} fields Received were to be in front: {trace:?}"))
}
