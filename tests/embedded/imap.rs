//! IMAP in dialogue.

use super::{Client, deliver, run, store};

#[test]
fn idle_tells_of_new_mail_and_of_what_others_do() {
    run(async {
        let store = store();
        let mut idler = Client::selected(&store, "ann").await;
        assert!(idler.one("i IDLE\r\n").await.starts_with("+ "));
        deliver(&store, "ann@example.org", b"Subject: new\r\n\r\n").await;
        assert_eq!(idler.line().await, "* 1 EXISTS");
        assert_eq!(idler.line().await, "* 1 RECENT");
        let mut other = Client::selected(&store, "ann").await;
        other.ask("b STORE 1 +FLAGS (\\Deleted $Mine)\r\n", "b OK").await;
        assert!(idler.line().await.contains("$Mine"));
        assert_eq!(idler.line().await, "* 1 FETCH (UID 1 FLAGS (\\Deleted $Mine \\Recent))");
        other.ask("c EXPUNGE\r\n", "c OK").await;
        assert_eq!(idler.line().await, "* 1 EXPUNGE");
        assert_eq!(idler.one("DONE\r\n").await, "i OK idled");
    });
}

#[test]
fn numbers_hold_while_fetch_is_answered() {
    run(async {
        let store = store();
        for number in 1..=2 {
            deliver(&store, "ann", format!("Subject: {number}\r\n\r\n").as_bytes()).await;
        }
        let mut one = Client::selected(&store, "ann").await;
        let mut other = Client::selected(&store, "ann").await;
        other.ask("b STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "b OK").await;
        one.ask("n FETCH 1 FLAGS\r\n", "n OK").await;
        other.ask("c EXPUNGE\r\n", "c OK").await;
        assert_eq!(one.fetched(2).await, b"Subject: 2\r\n\r\n");
        assert_eq!(one.fetched(1).await, b"Subject: 1\r\n\r\n", "still there for who was not told");
        assert_eq!(one.ask("d NOOP\r\n", "d OK").await, ["* 1 EXPUNGE", "d OK done"]);
        assert_eq!(one.fetched(1).await, b"Subject: 2\r\n\r\n");
    });
}

#[test]
fn copy_and_move_say_where_messages_went() {
    run(async {
        let store = store();
        for _ in 0..3 {
            deliver(&store, "ann", b"Subject: x\r\n\r\n").await;
        }
        let mut imap = Client::selected(&store, "ann").await;
        assert!(imap.one("b COPY 1 Old\r\n").await.starts_with("b NO [TRYCREATE]"));
        imap.ask("c CREATE Old/2024\r\n", "c OK").await;
        let copied = imap.one("d UID COPY 1,3 Old\r\n").await;
        assert!(copied.ends_with(" 1,3 1:2] copied"), "{copied}");
        assert_eq!(imap.one("e COPY 9 Old\r\n").await, "e OK copied");
        let moved = imap.ask("f MOVE 2:3 Old\r\n", "f OK").await;
        assert!(moved[0].starts_with("* OK [COPYUID ") && moved[0].contains(" 2:3 3:4]"), "{moved:?}");
        assert_eq!(moved[1..3], ["* 3 EXPUNGE", "* 2 EXPUNGE"]);
        let status = imap.ask("g STATUS Old (MESSAGES UIDNEXT)\r\n", "g OK").await;
        assert_eq!(status[0], "* STATUS Old (MESSAGES 4 UIDNEXT 5)");
    });
}

#[test]
fn examine_changes_nothing_and_peek_marks_nothing() {
    run(async {
        let store = store();
        deliver(&store, "ann", b"Subject: x\r\n\r\nbody\r\n").await;
        let mut imap = Client::imap(&store, "ann").await;
        imap.ask("b EXAMINE INBOX\r\n", "b OK [READ-ONLY]").await;
        let partial = imap.ask("c FETCH 1 BODY[TEXT]<1.3>\r\n", "c OK").await;
        assert_eq!(partial[..2], ["* 1 FETCH (BODY[TEXT]<1> {3}", "ody)"]);
        assert!(imap.one("d STORE 1 +FLAGS (\\Seen)\r\n").await.starts_with("d NO"));
        imap.ask("e SELECT inbox\r\n", "e OK [READ-WRITE]").await;
        imap.fetched(1).await;
        assert_eq!(imap.ask("f FETCH 1 FLAGS\r\n", "f OK").await[0], "* 1 FETCH (FLAGS (\\Recent))");
        let seen = imap.ask("g FETCH 1 (UID BODY[HEADER.FIELDS (SUBJECT)])\r\n", "g OK").await;
        assert_eq!(seen[0], "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {14}");
        assert_eq!(seen[3], " FLAGS (\\Seen \\Recent))");
    });
}

#[test]
fn a_mailbox_deleted_by_another_session_empties() {
    run(async {
        let store = store();
        let mut one = Client::imap(&store, "ann").await;
        one.ask("b CREATE Old\r\n", "b OK").await;
        one.ask("c APPEND Old {9+}\r\nSubject:x\r\n", "c OK").await;
        one.ask("d SELECT Old\r\n", "d OK").await;
        Client::imap(&store, "ann").await.ask("b DELETE Old\r\n", "b OK").await;
        assert_eq!(one.ask("e NOOP\r\n", "e OK").await[0], "* 1 EXPUNGE");
        one.ask("f UID STORE 1 +FLAGS (\\Seen)\r\n", "f OK").await;
        assert!(one.one("g SELECT Old\r\n").await.starts_with("g NO [NONEXISTENT]"));
        assert!(one.one("h EXPUNGE\r\n").await.starts_with("h BAD"), "nothing is selected any more");
    });
}

#[test]
fn commands_wait_for_their_state() {
    run(async {
        let mut imap = Client::connect(&store(), mailward::proto::Protocol::Imap);
        imap.line().await;
        assert!(imap.one("a SELECT INBOX\r\n").await.starts_with("a BAD"));
        assert!(imap.one("b FETCH 1 FLAGS\r\n").await.starts_with("b BAD"));
        assert!(imap.one("c APPEND INBOX {1+}\r\nx\r\n").await.starts_with("c BAD"));
        assert!(imap.one("nonsense\r\n").await.starts_with("* BAD"));
        assert!(imap.one("d AUTHENTICATE PLAIN\r\n").await.starts_with("+"));
        assert!(imap.one("AGFubgB4\r\n").await.starts_with("d OK [CAPABILITY"));
        assert!(imap.one("e LOGIN ann x\r\n").await.starts_with("e BAD"));
        assert!(imap.one("f FETCH 1 FLAGS\r\n").await.starts_with("f BAD"));
        assert_eq!(imap.ask("g LIST \"\" \"\"\r\n", "g OK").await[0], "* LIST (\\Noselect) \"/\" \"\"");
        assert_eq!(imap.ask("h LOGOUT\r\n", "* BYE").await.len(), 1);
    });
}
