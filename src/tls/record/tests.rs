//! Each thing that a client may send behind its handshake, and what comes of it.

use super::*;
use crate::tls::play::{Client, Pair, SUITES};
use rustls::SupportedCipherSuite;

/// A server's records, and a client that sends what it likes.
struct Table {
    client: Client,
    records: Records,
    due: Vec<u8>,
}

/// The suites of one version.
fn suites(is_tls13: bool) -> impl Iterator<Item = SupportedCipherSuite> {
    SUITES.into_iter().filter(move |suite| suite.tls13().is_some() == is_tls13)
}

impl Table {
    fn new(suite: SupportedCipherSuite) -> Self {
        let Pair { client, records, .. } = Pair::new(suite);
        Self { client, records, due: Vec::new() }
    }

    fn tls13() -> Self {
        Self::new(SUITES[0])
    }

    fn tls12() -> Self {
        Self::new(SUITES[3])
    }

    /// The client sends these bytes: the data that comes out, and the end.
    fn send(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<End>) {
        let mut out = vec![0; bytes.len() + 100];
        let opened = self.records.open(bytes, &mut out, &mut self.due);
        assert!(opened.end.is_some() || opened.used == bytes.len(), "whole records");
        out.truncate(opened.data);
        (out, opened.end)
    }

    /// The client sends a record, and that changes nothing.
    #[track_caller]
    fn bears(&mut self, kind: u8, content: &[u8]) {
        let record = self.client.record(kind, content, 0);
        assert_eq!(self.send(&record), (Vec::new(), None));
    }

    /// The client sends a record, and that is the end, which it is told by this alert.
    #[track_caller]
    fn refuses(mut self, kind: u8, content: &[u8], fault: Fault) {
        let record = self.client.record(kind, content, 0);
        self.refuses_bytes(&record, fault);
    }

    #[track_caller]
    fn refuses_bytes(mut self, bytes: &[u8], fault: Fault) {
        assert_eq!(self.send(bytes).1, Some(End::Fault(fault)));
        let told = fault.alert().map(|alert| vec![(ALERT, vec![FATAL, alert.into()])]);
        assert_eq!(self.client.read(&self.due), told.unwrap_or_default());
        // It is the last word.
        self.due.clear();
        self.records.close(&mut self.due);
        assert_eq!(self.due, b"");
        assert_eq!(self.records.seal(b"more", &mut [0; 1000]), Err((Fault::Closed, 0)));
    }

    /// What the client gets when this is written to it.
    fn write(&mut self, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut out = vec![0; data.len() + 10_000];
        let (taken, written) = self.records.seal(data, &mut out).expect("sealed");
        assert_eq!(taken, data.len());
        self.client.read(&out[..written])
    }
}

#[test]
fn data_crosses_both_ways_in_every_suite() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        for length in [1, 2, 15, 16, 17, 1000, CONTENT] {
            let data = vec![length.to_le_bytes()[0]; length];
            let record = table.client.record(APPLICATION_DATA, &data, 0);
            assert_eq!(table.send(&record), (data.clone(), None));
            assert_eq!(table.write(&data), [(APPLICATION_DATA, data)]);
        }
        let long = vec![b'x'; 2 * CONTENT + 5];
        let lengths: Vec<_> = table.write(&long).into_iter().map(|(_, content)| content.len()).collect();
        assert_eq!(lengths, [CONTENT, CONTENT, 5]);
        assert_eq!(table.write(b""), []);
    }
}

#[test]
fn what_is_made_of_a_key_is_made_again_where_it_was_given_back() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        for round in 0..3 {
            let record = table.client.record(APPLICATION_DATA, b"up", 0);
            assert_eq!(table.send(&record), (b"up".to_vec(), None), "{suite:?}, {round}");
            assert_eq!(table.write(b"down"), [(APPLICATION_DATA, b"down".to_vec())], "{suite:?}, {round}");
            table.records.rest();
            assert!(table.records.from_client.rests() && table.records.to_client.rests());
        }
    }
    let mut table = Table::tls13();
    table.records.rest();
    table.bears(HANDSHAKE, &update(1));
    table.records.rest();
    table.client.next_key();
    let record = table.client.record(APPLICATION_DATA, b"up", 0);
    assert_eq!(table.send(&record), (b"up".to_vec(), None));
}

#[test]
fn a_full_record_is_as_long_as_is_said() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        let record = table.client.record(APPLICATION_DATA, &[0; CONTENT], 0);
        assert_eq!(record.len(), table.records.full());
        let mut out = vec![0; RECORD + ASIDE];
        let written = table.records.seal(&[0; CONTENT], &mut out).unwrap().1;
        assert!(written == record.len() && written <= RECORD);
    }
}

#[test]
fn a_record_that_was_changed_replayed_or_left_out_is_the_end() {
    for suite in SUITES {
        let record = Table::new(suite).client.record(APPLICATION_DATA, b"data", 0);
        for at in HEADER..record.len() {
            let mut odd = record.clone();
            odd[at] ^= 1;
            Table::new(suite).refuses_bytes(&odd, Fault::BadRecordMac);
        }
        Table::new(suite).refuses_bytes(&[&record[..], &record].concat(), Fault::BadRecordMac);
        let mut later = Table::new(suite);
        later.client.record(APPLICATION_DATA, b"left out", 0);
        later.refuses(APPLICATION_DATA, b"data", Fault::BadRecordMac);
        // Too short to hold what authenticates it.
        Table::new(suite).refuses_bytes(&[APPLICATION_DATA, 3, 3, 0, 7, 1, 2, 3, 4, 5, 6, 7], Fault::BadRecordMac);
        Table::new(suite).refuses_bytes(&[APPLICATION_DATA, 3, 3, 0, 0], Fault::BadRecordMac);
    }
}

#[test]
fn the_length_in_tls_1_2_is_authenticated_and_so_are_type_and_version() {
    for suite in suites(false) {
        for (at, mask) in [(0, APPLICATION_DATA ^ ALERT), (2, 1)] {
            let mut table = Table::new(suite);
            let mut record = table.client.record(APPLICATION_DATA, b"xy", 0);
            record[at] ^= mask;
            table.refuses_bytes(&record, Fault::BadRecordMac);
        }
    }
}

#[test]
fn what_came_before_a_record_that_does_not_open_is_handed_out() {
    let mut table = Table::tls13();
    let mut bytes = table.client.record(APPLICATION_DATA, b"good", 0);
    bytes.extend(table.client.record(APPLICATION_DATA, b"bad", 0));
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(table.send(&bytes), (b"good".to_vec(), Some(End::Fault(Fault::BadRecordMac))));
}

#[test]
fn a_header_that_has_no_place_here_is_refused_before_its_record_is_there() {
    Table::tls13().refuses_bytes(b"E", Fault::Unexpected);
    Table::tls12().refuses_bytes(b"E", Fault::Unexpected);
    for (header, tls13, tls12) in [
        ([CHANGE_CIPHER_SPEC, 3, 3, 0, 1], Some(Fault::Unexpected), Some(Fault::Unexpected)),
        ([24, 3, 3, 0, 40], Some(Fault::Unexpected), Some(Fault::Unexpected)),
        ([ALERT, 3, 3, 0, 40], Some(Fault::Unexpected), None),
        ([HANDSHAKE, 3, 3, 0, 40], Some(Fault::Unexpected), None),
        ([APPLICATION_DATA, 2, 3, 0, 40], Some(Fault::Decode), Some(Fault::Decode)),
        ([APPLICATION_DATA, 3, 3, 0x41, 0x01], Some(Fault::Overflow), None),
        ([APPLICATION_DATA, 3, 3, 0x48, 0x01], Some(Fault::Overflow), Some(Fault::Overflow)),
        ([APPLICATION_DATA, 3, 3, 0x41, 0x00], None, None),
    ] {
        for (mut table, fault) in [(Table::tls13(), tls13), (Table::tls12(), tls12)] {
            match fault {
                Some(fault) => table.refuses_bytes(&header, fault),
                None => assert_eq!(table.records.open(&header, &mut [], &mut table.due), Opened::default()),
            }
        }
    }
}

const CHANGE_CIPHER_SPEC: u8 = 20;

#[test]
fn no_record_holds_more_than_it_may() {
    for suite in suites(false) {
        Table::new(suite).refuses(APPLICATION_DATA, &[0; CONTENT + 1], Fault::Overflow);
    }
    for suite in suites(true) {
        Table::new(suite).refuses(APPLICATION_DATA, &[1; CONTENT + 1], Fault::Overflow);
        // With its padding it is no longer than that either.
        let mut padded = Table::new(suite);
        let record = padded.client.record(APPLICATION_DATA, &[1; CONTENT - 10], 11);
        padded.refuses_bytes(&record, Fault::Overflow);
    }
}

#[test]
fn padding_is_taken_off_and_a_record_of_nothing_else_is_refused() {
    let mut table = Table::tls13();
    let record = table.client.record(APPLICATION_DATA, b"padded\0", 300);
    assert_eq!(table.send(&record), (b"padded\0".to_vec(), None));
    Table::tls13().refuses(0, b"", Fault::Unexpected);
    Table::tls13().refuses(0, &[0; 100], Fault::Unexpected);
}

#[test]
fn no_other_type_is_sealed() {
    Table::tls13().refuses(CHANGE_CIPHER_SPEC, &[1], Fault::Unexpected);
    Table::tls13().refuses(24, b"heartbeat", Fault::Unexpected);
    Table::tls13().refuses(HANDSHAKE, b"", Fault::Unexpected);
    Table::tls12().refuses(HANDSHAKE, b"", Fault::Unexpected);
}

#[test]
fn so_many_empty_records_are_borne_between_two_with_data() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        for _ in 0..2 {
            for _ in 0..EMPTY {
                table.bears(APPLICATION_DATA, b"");
            }
            let record = table.client.record(APPLICATION_DATA, b"data", 0);
            assert_eq!(table.send(&record), (b"data".to_vec(), None));
        }
        for _ in 0..EMPTY {
            table.bears(APPLICATION_DATA, b"");
        }
        table.refuses(APPLICATION_DATA, b"", Fault::Flood);
    }
}

#[test]
fn a_close_notify_is_the_end_and_what_follows_is_nobodys() {
    for (suite, level) in SUITES.into_iter().flat_map(|suite| [(suite, WARNING), (suite, FATAL)]) {
        let mut table = Table::new(suite);
        let mut bytes = table.client.record(APPLICATION_DATA, b"last", 0);
        bytes.extend(table.client.record(ALERT, &[level, 0], 0));
        let end = bytes.len();
        bytes.extend(b"whatever");
        let mut out = [0; 100];
        let opened = table.records.open(&bytes, &mut out, &mut table.due);
        assert_eq!(opened, Opened { used: end, data: 4, end: Some(End::Closed) });
        // We may still say something.
        assert_eq!(table.write(b"bye"), [(APPLICATION_DATA, b"bye".to_vec())]);
        table.records.close(&mut table.due);
        assert_eq!(table.client.read(&table.due), [(ALERT, vec![WARNING, 0])]);
    }
}

#[test]
fn an_alert_is_an_error_but_for_the_warnings_there_are() {
    let gone = Fault::Alert(AlertDescription::BadCertificate);
    Table::tls13().refuses(ALERT, &[FATAL, 42], gone);
    Table::tls12().refuses(ALERT, &[FATAL, 42], gone);
    // RFC 8446 §6: what it is called does not matter there.
    Table::tls13().refuses(ALERT, &[WARNING, 42], gone);
    Table::tls13().refuses(ALERT, &[3, 42], Fault::IllegalParameter);
    Table::tls12().refuses(ALERT, &[0, 0], Fault::IllegalParameter);
    for broken in [&b""[..], &[WARNING], &[WARNING, 0, 0], &[WARNING, 90, WARNING, 0]] {
        Table::tls13().refuses(ALERT, broken, Fault::Decode);
        Table::tls12().refuses(ALERT, broken, Fault::Decode);
    }
}

#[test]
fn so_many_warnings_are_borne() {
    for (mut table, warning) in [(Table::tls13(), 90), (Table::tls12(), 90), (Table::tls12(), 42)] {
        for _ in 0..WARNINGS {
            table.bears(ALERT, &[WARNING, warning]);
        }
        table.refuses(ALERT, &[WARNING, warning], Fault::Flood);
    }
}

/// A KeyUpdate, and whether it asks for one.
const fn update(asks: u8) -> [u8; 5] {
    [24, 0, 0, 1, asks]
}

#[test]
fn a_key_update_is_followed_and_answered_once_before_more_data() {
    for suite in suites(true) {
        let mut table = Table::new(suite);
        table.bears(HANDSHAKE, &update(0));
        table.client.next_key();
        assert_eq!(table.write(b"no answer"), [(APPLICATION_DATA, b"no answer".to_vec())]);
        for _ in 0..3 {
            table.bears(HANDSHAKE, &update(1));
            table.client.next_key();
        }
        assert_eq!(table.due, b"");
        let answered = [(HANDSHAKE, update(0).to_vec()), (APPLICATION_DATA, b"data".to_vec())];
        assert_eq!(table.write(b"data"), answered);
        assert_eq!(table.write(b"more"), [(APPLICATION_DATA, b"more".to_vec())]);
        let record = table.client.record(APPLICATION_DATA, b"by the fourth key", 0);
        assert_eq!(table.send(&record).0, b"by the fourth key");
    }
}

#[test]
fn behind_a_key_update_the_old_key_opens_nothing() {
    let mut table = Table::tls13();
    table.bears(HANDSHAKE, &update(0));
    table.refuses(APPLICATION_DATA, b"by the old key", Fault::BadRecordMac);
}

#[test]
fn a_key_update_may_be_split_and_ends_its_record() {
    for cut in 1..5 {
        let mut table = Table::tls13();
        table.bears(HANDSHAKE, &update(0)[..cut]);
        table.bears(HANDSHAKE, &update(0)[cut..]);
        table.client.next_key();
        table.bears(APPLICATION_DATA, b"");

        let mut interrupted = Table::tls13();
        interrupted.bears(HANDSHAKE, &update(0)[..cut]);
        interrupted.refuses(APPLICATION_DATA, b"data", Fault::Unexpected);
    }
    Table::tls13().refuses(HANDSHAKE, &[update(0), update(0)].concat(), Fault::Unexpected);
    Table::tls13().refuses(HANDSHAKE, &[&update(0)[..], &[24]].concat(), Fault::Unexpected);
}

#[test]
fn only_key_updates_that_mean_something_come_behind_the_handshake() {
    Table::tls13().refuses(HANDSHAKE, &update(2), Fault::IllegalParameter);
    Table::tls13().refuses(HANDSHAKE, &[24, 0, 0, 2, 0, 0], Fault::Decode);
    Table::tls13().refuses(HANDSHAKE, &[24, 0, 0, 0], Fault::Decode);
    for other in [0, 1, 4, 11, 20, 25] {
        Table::tls13().refuses(HANDSHAKE, &[other], Fault::Unexpected);
    }
    Table::tls12().refuses(HANDSHAKE, &update(0), Fault::Unexpected);
}

#[test]
fn so_many_key_updates_are_borne_between_two_records_with_data() {
    let mut table = Table::tls13();
    for _ in 0..2 {
        for _ in 0..KEY_UPDATES {
            table.bears(HANDSHAKE, &update(1));
            table.client.next_key();
        }
        let record = table.client.record(APPLICATION_DATA, b"data", 0);
        assert_eq!(table.send(&record).0, b"data");
    }
    for _ in 0..KEY_UPDATES {
        table.bears(HANDSHAKE, &update(1));
        table.client.next_key();
        table.bears(APPLICATION_DATA, b"");
    }
    table.refuses(HANDSHAKE, &update(0), Fault::Flood);
}

#[test]
fn renegotiation_is_refused_by_a_warning_and_then_by_the_end() {
    for suite in suites(false) {
        let Pair { client, records, hello, .. } = Pair::new(suite);
        let mut table = Table { client, records, due: Vec::new() };
        for piece in hello.chunks(60) {
            assert_eq!(table.due, b"");
            table.bears(HANDSHAKE, piece);
        }
        assert_eq!(table.client.read(&table.due), [(ALERT, vec![WARNING, 100])]);
        table.due.clear();
        let record = table.client.record(APPLICATION_DATA, b"data", 0);
        assert_eq!(table.send(&record), (b"data".to_vec(), None));
        table.refuses(HANDSHAKE, &hello, Fault::Flood);
    }
}

#[test]
fn a_hello_is_not_interrupted_nor_endless_nor_anything_else() {
    let mut table = Table::tls12();
    table.bears(HANDSHAKE, &[1, 0, 0, 9, 3, 3]);
    table.refuses(APPLICATION_DATA, b"data", Fault::Unexpected);
    Table::tls12().refuses(HANDSHAKE, &[1, 1, 0, 0], Fault::Decode);
    Table::tls12().refuses(HANDSHAKE, &[16], Fault::Unexpected);
    // Two in one record, the second of which is one too many.
    Table::tls12().send_two_hellos();
}

impl Table {
    fn send_two_hellos(mut self) {
        let record = self.client.record(HANDSHAKE, &[1, 0, 0, 1, 0, 1, 0, 0, 1, 0], 0);
        assert_eq!(self.send(&record).1, Some(End::Fault(Fault::Flood)));
    }
}

#[test]
fn a_key_that_has_sealed_all_it_may_is_followed_by_the_next() {
    for suite in suites(true) {
        let mut table = Table::new(suite);
        table.records.limit = table.records.to_client.sequence + 3;
        let mut kinds = Vec::new();
        for _ in 0..2 {
            kinds.extend(table.write(b"x").into_iter().map(|(kind, content)| (kind, content.len())));
        }
        assert_eq!(kinds, [(APPLICATION_DATA, 1); 2]);
        // The third of this key, and the first of the next.
        assert_eq!(table.write(b"y"), [(HANDSHAKE, update(1).to_vec()), (APPLICATION_DATA, b"y".to_vec())]);
        assert_eq!(table.records.to_client.sequence, 1);
        // In the middle of one write too.
        let long = vec![b'z'; 5 * CONTENT];
        let kinds: Vec<_> = table.write(&long).into_iter().map(|(kind, _)| kind).collect();
        let limit = usize::try_from(table.records.limit).unwrap();
        assert!(limit > 3 || kinds.iter().filter(|kind| **kind == HANDSHAKE).count() > 1, "{kinds:?}");
    }
}

#[test]
fn tls_1_2_closes_where_its_key_has_sealed_all_it_may() {
    for suite in suites(false) {
        let mut table = Table::new(suite);
        table.records.limit = table.records.to_client.sequence + 2;
        let mut out = vec![0; 5 * RECORD];
        let (fault, written) = table.records.seal(&[b'x'; 3 * CONTENT], &mut out).unwrap_err();
        assert_eq!(fault, Fault::Exhausted);
        let kinds: Vec<_> = table.client.read(&out[..written]).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [APPLICATION_DATA, APPLICATION_DATA, ALERT]);
        assert_eq!(table.records.seal(b"more", &mut out), Err((Fault::Closed, 0)));
    }
}

#[test]
fn the_limits_are_those_of_the_suites() {
    // RFC 8446 §5.5: 2^24.5 full records for AES-GCM, and for ChaCha20-Poly1305 the sequence numbers end before.
    for suite in SUITES {
        let limit = Table::new(suite).records.limit;
        let is_chacha = format!("{:?}", suite.suite()).contains("CHACHA20");
        assert_eq!(limit, if is_chacha { u64::MAX } else { 1 << 24 });
    }
}

#[test]
fn no_sequence_number_wraps() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        table.records.secrets = None;
        table.records.to_client.sequence = u64::MAX;
        assert!(matches!(table.records.seal(b"data", &mut [0; 1000]), Err((Fault::Exhausted, _))));
        assert_eq!(table.records.to_client.sequence, u64::MAX);
    }
}

#[test]
fn nothing_follows_our_close_notify() {
    let mut table = Table::tls13();
    table.records.close(&mut table.due);
    table.records.close(&mut table.due);
    assert_eq!(table.client.read(&table.due), [(ALERT, vec![WARNING, 0])]);
    assert_eq!(table.records.seal(b"more", &mut [0; 1000]), Err((Fault::Closed, 0)));
    // The client may still say something.
    let record = table.client.record(APPLICATION_DATA, b"data", 0);
    assert_eq!(table.send(&record), (b"data".to_vec(), None));
}

#[test]
fn records_that_there_is_no_room_for_wait() {
    for suite in SUITES {
        let mut table = Table::new(suite);
        let mut bytes = table.client.record(APPLICATION_DATA, &[b'a'; 50], 0);
        let first = bytes.len();
        bytes.extend(table.client.record(APPLICATION_DATA, &[b'b'; 50], 0));
        let room = table.records.room(&bytes);
        let mut out = vec![0; 50 + room - 1];
        let opened = table.records.open(&bytes, &mut out, &mut table.due);
        assert_eq!(opened, Opened { used: first, data: 50, end: None });
        let opened = table.records.open(&bytes[first..], &mut out[..room], &mut table.due);
        assert_eq!(opened, Opened { used: bytes.len() - first, data: 50, end: None });
        assert_eq!(out[..50], [b'b'; 50]);
    }
}
