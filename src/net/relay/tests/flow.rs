//! What goes through: order, back-pressure, what is held.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    sync::watch,
    task::{spawn_local, unconstrained},
    time::{sleep, sleep_until},
};

use super::{
    super::{End, Relay, SCRATCH, Said, relay},
    bench::{Bench, PIPE, Script, Watched, pace, run},
};
use crate::{
    net::Stage,
    proto::{RefusedLogin, Violation},
};

#[test]
fn what_the_filter_writes_stands_in_its_place_among_what_passes() {
    run(async || {
        let mut bench = Bench::start(Script::new());
        bench.client.gets("hello\n").await;
        bench.backend.send("one\necho two\nthree\ndrop\nfour\n").await;
        bench.client.gets("one\ntwo\nthree\nfour\n").await;
        bench.client.send("five\ndrop\nsix\n").await;
        bench.backend.gets("five\nsix\n").await;
    });
}

#[test]
fn what_the_client_had_sent_before_goes_first_and_counts() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"early\nhal");
        bench.client.send("f\n").await;
        bench.backend.gets("early\nhalf\n").await;
        bench.backend.send("end\n").await;
        bench.client.gets("bye\n").await;
        let (report, _) = bench.ends().await;
        assert_eq!((report.end, report.bytes_in, report.bytes_out), (End::Closed, 11, 4));
        assert_eq!(report.user.as_deref(), Some("ann"));
    });
}

#[test]
fn a_line_that_waits_holds_back_its_side_alone_until_the_other_has_spoken() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("first\nwait\nlast\n").await;
        bench.backend.gets("first\n").await;
        assert_eq!(bench.backend.0.read(&mut [0; 9]).await.map_err(|_| ()), Ok(0), "nothing more before the timeout");
    });
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("first\nwait\nlast\n").await;
        bench.backend.gets("first\n").await;
        bench.backend.send("now\n").await;
        bench.client.gets("now\n").await;
        bench.backend.gets("wait\nlast\n").await;
    });
}

#[test]
fn what_stood_behind_the_last_line_the_filter_looked_at_crosses_unseen() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send("wait\ndrop\nhal").await;
        bench.backend.send("aside\ndrop\n").await;
        bench.client.gets("aside\ndrop\n").await;
        bench.backend.gets("wait\ndrop\nhal").await;
    });
}

#[test]
fn a_side_that_does_not_read_holds_up_the_other_and_nothing_is_lost() {
    for script in [Script::new as fn() -> Script, Script::none] {
        run(async || {
            let mut bench = Bench::greeted(script(), b"", b"");
            let line = "0123456789\n".repeat(90);
            let taken = bench.client.floods(line.as_bytes(), 1 << 20).await;
            assert!((2 * PIPE..=SCRATCH + 2 * PIPE).contains(&taken), "{taken}");
            bench.client.ends_sending().await;
            let arrived = bench.backend.rest().await;
            let sent: Vec<u8> = line.bytes().cycle().take(taken).collect();
            let lines = sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            assert!(arrived == sent || arrived == sent[..lines], "{} of {taken}", arrived.len());
        });
    }
}

#[test]
fn a_client_that_does_not_read_the_answers_is_not_listened_to_for_ever() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        let taken = bench.client.floods(b"echo no\n", 16 << 20).await;
        assert!(taken < 4 * (SCRATCH + PIPE), "{taken}");
        // It is heard again as soon as it has read.
        bench.client.gets(&"no\n".repeat(1000)).await;
        let (report, _) = bench.ends().await;
        assert_eq!(report.end, End::Timeout);
    });
}

#[test]
fn a_filter_that_never_has_enough_is_stopped() {
    run(async || {
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.client.send(vec![b'x'; 1000]).await;
        let (report, _) = bench.ends().await;
        assert_eq!(report.end, End::ClientViolation(Violation::LineTooLong));
        let mut bench = Bench::greeted(Script::new(), b"", b"");
        bench.backend.send(vec![b'x'; 1000]).await;
        let (report, _) = bench.ends().await;
        assert_eq!(report.end, End::BackendViolation(Violation::Backend));
    });
}

#[test]
fn nothing_is_kept_of_what_has_crossed() {
    // Polled by hand, so that nobody polls it again where the runtime wants a pause.
    run(async || unconstrained(keep_nothing()).await);
}

async fn keep_nothing() {
    let (mut client, mut ours) = duplex(PIPE);
    let (mut backend, theirs) = duplex(PIPE);
    // An empty buffer that once held something.
    let input = Vec::with_capacity(PIPE);
    let (said, mut refused) = (Said { by_client: input, ..Said::default() }, |_: RefusedLogin| {});
    let mut relay = Relay::new(&mut ours, theirs, Box::new(Script::new()), said, pace(), &mut refused);
    let mut clock = pin!(sleep_until(relay.alarm()));
    let lines = ("x".repeat(99) + "\n").repeat(20);
    for _ in 0..10 {
        for (up, down) in [(lines.clone() + "hal", "wait\nx\n"), ("f\n".into(), "x\n")] {
            client.write_all(up.as_bytes()).await.expect("room");
            backend.write_all(down.as_bytes()).await.expect("room");
            assert!(poll_fn(|cx| Poll::Ready(relay.poll(cx, clock.as_mut(), false).is_pending())).await);
        }
        for peer in [&mut client, &mut backend] {
            assert!(peer.read(&mut [0; PIPE]).await.expect("bytes") > 0);
        }
    }
    for lane in [&relay.up, &relay.down] {
        assert_eq!((lane.held.capacity(), lane.out.capacity()), (0, 0), "{lane:?}");
    }
}

#[test]
fn what_a_read_of_either_side_makes_due_is_sent_at_once() {
    run(async || {
        let ((_client, ours), (_backend, theirs)) = (duplex(PIPE), duplex(PIPE));
        let (mut client, backend) = (Watched::new(ours), Watched::new(theirs));
        let mut refused = |_: RefusedLogin| {};
        let script = Box::new(Script::new());
        let mut relay = Relay::new(&mut client, backend, script, Said::default(), pace(), &mut refused);
        let mut clock = pin!(sleep_until(relay.alarm()));
        assert!(poll_fn(|cx| Poll::Ready(relay.poll(cx, clock.as_mut(), false).is_pending())).await);
        let owe = (relay.client.owes, relay.backend.as_ref().is_some_and(|backend| backend.owes));
        assert_eq!(owe, (false, false));
    });
}

/// A backend that has to be rid of its answers before it takes more, and a client that does both at once: they would come to an end
/// without a gateway, so they do with one. One read may bring more than a lane is crowded with.
#[test]
fn who_takes_nothing_is_read_all_the_same_once_nobody_looks_at_what_passes() {
    const MANY: usize = 1 << 20;
    run(async || {
        let ((client, mut ours), (mut backend, theirs)) = (duplex(SCRATCH), duplex(SCRATCH));
        let (_running, mut stage) = watch::channel(Stage::Running);
        let relaying = spawn_local(async move {
            let filter = Box::new(Script::none());
            relay(&mut ours, theirs, filter, Said::default(), pace(), &mut stage, &mut |_| {}).await.end
        });
        let (mut from_relay, mut to_relay) = split(client);
        let writes = spawn_local(async move {
            to_relay.write_all(&vec![b'q'; MANY]).await.expect("room");
            to_relay.shutdown().await
        });
        let reads = spawn_local(async move { from_relay.read_exact(&mut vec![0; MANY]).await });
        sleep(Duration::from_secs(1)).await;
        backend.write_all(&vec![b'a'; MANY]).await.expect("room");
        backend.read_exact(&mut vec![0; MANY]).await.expect("all of it");
        drop(backend);
        assert!(writes.await.expect("no panic").is_ok() && reads.await.expect("no panic").is_ok());
        assert_eq!(relaying.await.expect("no panic"), End::Closed);
    });
}
