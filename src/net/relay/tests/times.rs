//! Which wait ends a session, and when.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::{
    io::{AsyncWriteExt, duplex},
    sync::watch,
    task::{coop::poll_proceed, spawn_local},
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    super::{End, Said, pace::REST, relay},
    bench::{Bench, PIPE, Peer, Script, Watched, pace, run},
};
use crate::net::Stage;

#[test]
fn a_line_that_drips_has_its_time_from_the_last_reply() {
    run(async || {
        let mut bench = Bench::start(Script::new());
        bench.client.gets("hello\n").await;
        sleep(Duration::from_secs(4)).await;
        bench.backend.send("reply\n").await;
        for _ in 0..9 {
            bench.client.send("x").await;
            sleep(Duration::from_secs(1)).await;
        }
        bench.client.gets("reply\nTimeout\n").await;
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Timeout, 14));
    });
}

#[test]
fn a_login_has_its_time_from_the_start_however_busy_the_client_is() {
    run(async || {
        let mut bench = Bench::start(Script::awaiting_login());
        for _ in 0..24 {
            bench.client.send("echo x\n").await;
            sleep(Duration::from_secs(1)).await;
        }
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Timeout, 25));
    });
}

#[test]
fn after_the_login_there_is_time_again() {
    run(async || {
        let mut bench = Bench::start(Script::awaiting_login());
        sleep(Duration::from_secs(5)).await;
        bench.backend.send("login\naside\n").await;
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Timeout, 65));
    });
}

#[test]
fn an_answer_of_either_side_keeps_a_transfer_and_a_blind_session_alive() {
    for first in ["phase transfer\n", "aside\n"] {
        run(async || {
            let mut bench = Bench::start(Script::new());
            bench.client.send(first).await;
            for _ in 0..3 {
                sleep(Duration::from_secs(50)).await;
                bench.client.send("x\n").await;
                sleep(Duration::from_secs(50)).await;
                bench.backend.send("x\n").await;
            }
            let (report, seconds) = bench.ends().await;
            assert_eq!((report.end, seconds), (End::Timeout, 360), "{first}");
        });
    }
}

#[test]
fn a_blind_session_ends_by_silence_without_a_word() {
    run(async || {
        let mut bench = Bench::greeted(Script::none(), b"", b"");
        assert_eq!(bench.client.rest().await, b"");
        assert_eq!(bench.ends().await.0.end, End::Timeout);
    });
}

#[test]
fn the_clients_side_rests_once_in_each_silence() {
    run(async || {
        let ((client, stream), (backend, theirs)) = (duplex(PIPE), duplex(PIPE));
        let mut ours = Watched::new(stream);
        let rests = ours.rests.clone();
        let (_running, mut stage) = watch::channel(Stage::Running);
        let _relaying = spawn_local(async move {
            let (said, script) = (Said::default(), Box::new(Script::none()));
            relay(&mut ours, theirs, script, said, pace(), &mut stage, &mut |_| {}).await
        });
        let (mut client, mut backend) = (Peer(client), Peer(backend));
        for silence in 1..=3 {
            for _ in 0..9 {
                client.send("x\n").await;
                sleep(REST / 2).await;
                backend.send("x\n").await;
                sleep(REST / 2).await;
            }
            assert_eq!(rests.get(), silence - 1, "in the middle of a dialogue");
            sleep(20 * REST).await;
            assert_eq!(rests.get(), silence);
        }
    });
}

#[test]
fn a_session_in_which_something_moves_when_its_clock_rings_is_timed_all_the_same() {
    run(async || {
        let mut bench = Bench::greeted(Script::none(), b"", b"");
        // This sleeper is woken first: when the relay is, both are there.
        sleep(REST).await;
        bench.client.0.write_all(b"y\n").await.expect("room");
        bench.backend.gets("y\n").await;
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Timeout, 60));
    });
}

#[test]
fn a_session_whose_turn_had_lasted_too_long_is_timed_all_the_same() {
    run(async || {
        let ((client, mut ours), (_backend, theirs)) = (duplex(PIPE), duplex(PIPE));
        let (_running, mut stage) = watch::channel(Stage::Running);
        let began = Instant::now();
        let relaying = spawn_local(async move {
            let (said, script) = (Said::default(), Box::new(Script::none()));
            let mut refused = |_| {};
            let mut relayed = pin!(relay(&mut ours, theirs, script, said, pace(), &mut stage, &mut refused));
            let mut is_first = true;
            poll_fn(|cx| {
                // What there is of the first turn is used up.
                while is_first && let Poll::Ready(used) = poll_proceed(cx) {
                    used.made_progress();
                }
                is_first = false;
                relayed.as_mut().poll(cx)
            })
            .await
        });
        let mut client = Peer(client);
        client.send("x\n").await;
        let report = timeout(Duration::from_secs(3600), relaying).await.expect("an end").expect("no panic");
        assert_eq!((report.end, began.elapsed().as_secs()), (End::Timeout, 60));
    });
}

#[test]
fn the_answer_to_a_message_may_take_longer_than_all_else_and_is_given_up_as_a_lost_backend() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("phase data-end\n").await;
        assert_eq!(bench.client.rest().await, b"lost\n");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::BackendLost, 90));
    });
}

#[test]
fn last_words_that_nobody_takes_are_given_up_soon() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.floods("echo 0123456789\n".repeat(600).as_bytes(), 16 << 10).await;
        bench.client.send("end\n").await;
        let (report, seconds) = bench.ends().await;
        assert_eq!(report.end, End::Closed);
        assert!(seconds <= 3, "{seconds}");
    });
}

#[test]
fn a_stopping_process_says_so_between_commands() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("one\n").await;
        bench.backend.gets("one\n").await;
        bench.stage.send_replace(Stage::Draining);
        assert_eq!(bench.client.rest().await, b"Draining\n");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Drained, 0));
    });
}

#[test]
fn what_is_under_way_is_finished_before_a_stopping_process_says_so() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("busy\nphase transfer\n").await;
        bench.backend.gets("busy\nphase transfer\n").await;
        bench.stage.send_replace(Stage::Draining);
        sleep(Duration::from_secs(50)).await;
        assert!(bench.runs());
        bench.backend.send("free\n").await;
        assert_eq!(bench.client.rest().await, b"free\nDraining\n");
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Drained, 50));
    });
}

#[test]
fn a_blind_session_is_drained_when_both_directions_were_silent_for_a_second() {
    run(async || {
        let mut bench = Bench::greeted(Script::none(), b"", b"");
        sleep(Duration::from_secs(30)).await;
        bench.client.send("x").await;
        bench.stage.send_replace(Stage::Draining);
        for _ in 0..10 {
            sleep(Duration::from_millis(900)).await;
            assert!(bench.runs());
            bench.backend.send("y").await;
        }
        assert_eq!(bench.client.rest().await, b"y".repeat(10));
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Drained, 40));
    });
}

#[test]
fn a_transfer_that_its_reader_holds_up_is_no_silence() {
    run(async || {
        let mut bench = Bench::greeted(Script::none(), b"", b"");
        let sent = bench.backend.floods(b"literal", 1 << 20).await;
        bench.stage.send_replace(Stage::Draining);
        sleep(Duration::from_secs(40)).await;
        assert!(bench.runs());
        assert_eq!(bench.client.rest().await.len(), sent);
        let (report, seconds) = bench.ends().await;
        assert_eq!((report.end, seconds), (End::Drained, 41));
    });
}

#[test]
fn a_process_that_stops_at_once_waits_for_nobody() {
    run(async || {
        let mut busy = Bench::greeted(Script::new(), b"", b"");
        busy.client.send("busy\n").await;
        busy.backend.gets("busy\n").await;
        let blind = Bench::greeted(Script::none(), b"", b"");
        for bench in [busy, blind] {
            bench.stage.send_replace(Stage::Stopping);
            let (report, seconds) = bench.ends().await;
            assert_eq!((report.end, seconds), (End::Drained, 0));
        }
    });
}

#[test]
fn a_session_whose_process_is_gone_ends() {
    run(async || {
        let Bench { mut client, backend: _backend, stage, began, .. } = Bench::greeted(Script::none(), b"", b"");
        drop(stage);
        assert_eq!(client.rest().await, b"");
        assert_eq!(began.elapsed().as_secs(), 0);
    });
}
