//! Half-closes, lost peers, and the backend that is cut off.

use super::{
    super::End,
    bench::{Bench, Script, run},
};
use crate::proto::Violation;

#[test]
fn a_clients_end_is_passed_on_and_the_answer_still_comes() {
    for script in [Script::new as fn() -> Script, Script::none] {
        run(async || {
            let mut bench = Bench::greeted(script(), b"", b"");
            bench.client.send("last\n").await;
            bench.client.ends_sending().await;
            assert_eq!(bench.backend.rest().await, b"last\n");
            bench.backend.send("answer\n").await;
            bench.client.gets("answer\n").await;
        });
    }
}

#[test]
fn a_blind_session_is_closed_when_both_sides_have_ended() {
    run(async || {
        let mut bench = Bench::greeted(Script::none(), b"", b"");
        bench.backend.send("BYE").await;
        bench.backend.ends_sending().await;
        assert_eq!(bench.client.rest().await, b"BYE");
        bench.client.send("thanks").await;
        bench.client.ends_sending().await;
        assert_eq!(bench.backend.rest().await, b"thanks");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Closed, 0));
    });
}

#[test]
fn a_half_closed_session_has_little_time_left() {
    for backend_first in [true, false] {
        run(async || {
            let mut bench = Bench::greeted(Script::none(), b"", b"");
            let ender = if backend_first { &mut bench.backend } else { &mut bench.client };
            ender.ends_sending().await;
            let (report, seconds) = bench.ends().await;
            assert_eq!((report.end, seconds), (End::Closed, 5), "{backend_first}");
        });
    }
}

#[test]
fn the_end_of_a_vanished_client_reaches_the_backend_at_once() {
    run(async || {
        let Bench { client, mut backend, stage: _stage, began, .. } = Bench::greeted(Script::none(), b"", b"");
        drop(client);
        assert_eq!(backend.rest().await, b"");
        assert_eq!(began.elapsed().as_secs(), 0);
    });
}

#[test]
fn a_client_lost_in_the_middle_of_something_cuts_the_backend() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("busy\nhalf a li").await;
        bench.client.ends_sending().await;
        assert_eq!(bench.backend.rest().await, b"busy\n");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::ClientLost, 0));
    });
}

#[test]
fn a_lost_backend_is_told_in_the_filters_words() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.backend.send("half a rep").await;
        bench.backend.ends_sending().await;
        assert_eq!(bench.client.rest().await, b"lost\n");
        assert_eq!(bench.ends().await.0.end, End::BackendLost);
    });
}

#[test]
fn a_backend_lost_in_a_body_is_told_when_the_body_is_read_to_its_end() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("busy\n").await;
        bench.backend.gets("busy\n").await;
        bench.backend.ends_sending().await;
        for _ in 0..20 {
            bench.client.send("body\n".repeat(2000)).await;
        }
        bench.client.send("refuse\n").await;
        assert_eq!(bench.client.rest().await, b"bye\n");
        let (report, _) = bench.ends().await;
        assert_eq!(report.end, End::ClientViolation(Violation::TooManyErrors));
    });
}

#[test]
fn a_backend_that_is_cut_off_gets_nothing_more_and_is_not_heard() {
    for side in [0, 1] {
        run(async || {
            let mut bench = Bench::greeted(Script::new(), b"", b"");
            bench.client.send("before\n").await;
            bench.backend.gets("before\n").await;
            let cutter = if side == 0 { &mut bench.client } else { &mut bench.backend };
            cutter.send("cut\nbehind\n").await;
            assert_eq!(bench.backend.rest().await, b"", "{side}");
            bench.client.send("echo alone\nend\n").await;
            assert_eq!(bench.client.rest().await, b"alone\nbye\n", "{side}");
            assert_eq!(bench.ends().await.0.end, End::Closed);
        });
    }
}

#[test]
fn a_greeting_may_cut_the_backend_and_leave_the_word_to_the_filter() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"cut\n", b"");
        assert_eq!(bench.backend.rest().await, b"");
        bench.client.send("end\n").await;
        bench.client.gets("bye\n").await;
        assert_eq!(bench.ends().await.0.end, End::Closed);
    });
}

#[test]
fn a_greeting_that_refuses_ends_the_session() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"go away\n", b"");
        assert_eq!(bench.client.rest().await, b"bye\n");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Refused, 0));
    });
}
