//! Golden tables of conditions, and what holds of every one of them.

use super::{
    Because, Condition, Facts, Fault, INVALID_TLS, LONGEST_EXPRESSION, LastError, Names, Requirement, Right, Rule,
    Source, Strategies, TlsStrategy, Unreachable, condition, id, unreachable,
};
use std::sync::Arc;

fn names() -> Names {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Names { listeners: list(&["egress"]), strategies: list(&["default", "invalid-tls", "disable-tls"]) }
}

fn read(text: &str) -> Condition {
    condition(text, &names()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

/// The second retry of a message, at its MX.
fn facts() -> Facts<'static> {
    Facts {
        listener: "egress",
        source: Source::Unauthenticated,
        sender: "Sales@Old.Example",
        sender_domain: "old.example",
        rcpt: "jane.doe@Partner.example",
        rcpt_domain: "partner.example",
        retry_num: 2,
        last_error: LastError::Tls,
        domain_failures: 5,
        domain_last_error: LastError::Connection,
        mx: Some("MX1.Partner.example."),
        mx_last_error: Some(LastError::None),
        remote_ip: Some("192.0.2.25".parse().unwrap()),
        local_ip: Some("2001:db8::1".parse().unwrap()),
    }
}

/// The same before the MX is looked up.
fn before_mx() -> Facts<'static> {
    Facts { mx: None, mx_last_error: None, remote_ip: None, local_ip: None, ..facts() }
}

#[test]
fn rows_58_59_60_61_a_condition_has_the_value_of_the_table() {
    let table = [
        // Numbers.
        ("retry_num > 0", true),
        ("retry_num > 2", false),
        ("retry_num >= 2", true),
        ("retry_num < 2", false),
        ("retry_num <= 2", true),
        ("retry_num == 2", true),
        ("retry_num != 2", false),
        ("1 < retry_num", true),
        ("2 >= retry_num", true),
        ("3 <= retry_num", false),
        ("domain_failures > retry_num", true),
        ("retry_num == domain_failures", false),
        ("18446744073709551615 > retry_num", true),
        // Durations, which only compare with each other.
        ("30s < 1m", true),
        ("60000ms == 1m", true),
        ("1h > 1d", false),
        // Texts, names and mailboxes: by what they are, not by how they are written.
        ("mx == 'mx1.partner.example'", true),
        ("mx == \"MX1.PARTNER.EXAMPLE.\"", true),
        ("mx != 'mx1.partner.example'", false),
        ("'mx2.partner.example' == mx", false),
        ("rcpt_domain == 'Partner.Example'", true),
        ("rcpt == 'Jane.Doe@partner.example'", true),
        ("sender == 'sales@old.example'", true),
        ("sender_domain == 'old.example'", true),
        ("sender_domain == ''", false),
        ("sender != ''", true),
        ("sender_domain == rcpt_domain", false),
        ("sender != rcpt", true),
        ("remote_ip == '192.0.2.25'", true),
        ("remote_ip == '::ffff:192.0.2.25'", true),
        ("local_ip == '2001:DB8:0:0:0:0:0:1'", true),
        ("listener == 'egress'", true),
        ("'a' == 'b'", false),
        ("'a' != 'b'", true),
        // Words.
        ("last_error == 'tls'", true),
        ("last_error != 'mta-sts'", true),
        ("domain_last_error == 'connection'", true),
        ("mx_last_error == 'none'", true),
        ("domain_last_error == last_error", false),
        ("source == 'unauthenticated'", true),
        ("source == 'report'", false),
        // Functions.
        ("starts_with(mx, 'MX1.')", true),
        ("starts_with(mx, 'mx1')", true),
        ("starts_with(mx, 'mx1.p.')", false),
        ("ends_with(mx, '.partner.example')", true),
        ("ends_with(mx, '.Partner.example.')", true),
        ("ends_with(rcpt, '@partner.example')", true),
        ("contains(rcpt, '.DOE')", true),
        ("contains(remote_ip, '.2.')", true),
        ("starts_with(listener, 'Eg')", false),
        ("matches('^mx[0-9]+[.]partner[.]example$', mx)", true),
        ("matches('PARTNER', rcpt_domain)", true),
        (r"matches('^\d+$', mx)", false),
        ("matches('^jane', rcpt)", true),
        // Joined.
        ("retry_num > 1 && last_error == 'tls'", true),
        ("retry_num > 0 && last_error == 'dane'", false),
        ("retry_num > 9 || last_error == 'tls'", true),
        ("true || false && false", true),
        ("(true || false) && false", false),
        ("false && false || true", true),
        ("!(retry_num > 9)", true),
        ("!true || true", true),
        ("!!true", true),
        ("!ends_with(mx, '.example')", false),
        ("  retry_num>1&&last_error=='tls'  ", true),
        ("((((retry_num)) == ((2))))", true),
        ("true", true),
    ];
    for (text, value) in table {
        assert_eq!(read(text).holds(&facts()), Some(value), "{text}");
    }
}

#[test]
fn row_58_retry_num_is_0_at_the_first_attempt_and_counts_on() {
    for (text, values) in [
        ("retry_num > 0", [false, true, true]),
        ("retry_num > 1", [false, false, true]),
        ("retry_num > 2", [false, false, false]),
        ("retry_num == 0", [true, false, false]),
        ("retry_num >= 1", [false, true, true]),
    ] {
        let holds = |retry_num| read(text).holds(&Facts { retry_num, ..facts() });
        assert_eq!([0, 1, 2].map(holds), values.map(Some), "{text}");
    }
}

#[test]
fn row_59_each_word_for_an_error_is_of_that_error_alone() {
    for error in LastError::ALL {
        let condition = read(&format!("last_error == '{}'", error.name()));
        for last_error in LastError::ALL.iter().copied() {
            assert_eq!(condition.holds(&Facts { last_error, ..facts() }), Some(last_error == *error), "{error:?}");
        }
    }
}

#[test]
fn row_60_a_host_is_that_host_and_no_other() {
    let condition = read("mx == 'mx1.partner.example'");
    for (mx, is_it) in [
        ("mx1.partner.example", true),
        ("MX1.PARTNER.EXAMPLE.", true),
        ("mx2.partner.example", false),
        ("partner.example", false),
        ("a.mx1.partner.example", false),
        ("mx1.partner.example.org", false),
    ] {
        assert_eq!(condition.holds(&Facts { mx: Some(mx), ..facts() }), Some(is_it), "{mx}");
    }
}

#[test]
fn row_61_both_sides_of_and_have_to_be_true_and_comparisons_come_before_it() {
    for (retry_num, last_error, value) in [
        (0, LastError::Tls, false),
        (1, LastError::Dane, false),
        (0, LastError::Dane, false),
        (1, LastError::Tls, true),
    ] {
        for text in ["retry_num > 0 && last_error == 'tls'", "last_error == 'tls' && retry_num > 0"] {
            assert_eq!(read(text).holds(&Facts { retry_num, last_error, ..facts() }), Some(value), "{text}");
        }
    }
    // What decides alone, decides before the other side is known.
    assert_eq!(read("retry_num > 9 && mx == 'a.example'").holds(&before_mx()), Some(false));
}

#[test]
fn what_is_not_known_yet_leaves_a_condition_open_unless_the_rest_decides() {
    let table = [
        ("mx == 'mx1.partner.example'", None),
        ("mx != 'mx1.partner.example'", None),
        ("!(mx == 'a.example')", None),
        ("ends_with(mx, '.example')", None),
        ("remote_ip == '192.0.2.25'", None),
        ("local_ip == remote_ip", None),
        ("mx_last_error == 'tls'", None),
        ("mx == rcpt_domain", None),
        ("mx == 'a.example' && retry_num > 9", Some(false)),
        ("retry_num > 9 && mx == 'a.example'", Some(false)),
        ("mx == 'a.example' && retry_num > 1", None),
        ("mx == 'a.example' || retry_num > 1", Some(true)),
        ("mx == 'a.example' || retry_num > 9", None),
        ("rcpt_domain == 'partner.example'", Some(true)),
        ("listener == 'egress' && source == 'dsn'", Some(false)),
    ];
    for (text, value) in table {
        assert_eq!(read(text).holds(&before_mx()), value, "{text}");
    }
}

/// A fault as `COLUMN: what; right`, or the names in place of `right`.
fn told(fault: &Fault) -> String {
    let right = match &fault.right {
        Right::Write(right) => right.clone(),
        Right::OneOf { word, names } => format!("{word} of {}", names.len()),
    };
    format!("{}: {}; {right}", fault.at + 1, fault.what)
}

#[test]
fn a_bad_condition_is_refused_with_its_column() {
    const ABOUT: &str = "a condition compares: retry_num > 0, mx == 'mx.example.org'";
    let table = [
        ("", "1: the expression ends here; write a variable, a text or a number".to_owned()),
        ("   ", "4: the expression ends here; write a variable, a text or a number".to_owned()),
        ("retry_num >", "12: the expression ends here; write a variable, a text or a number".to_owned()),
        ("retry_num", format!("1: retry_num is a number, and no condition; {ABOUT}")),
        ("'default'", format!("1: 'default' is a text, and no condition; {ABOUT}")),
        ("30s && true", format!("1: this is a duration, and no condition; {ABOUT}")),
        ("true && 7", format!("9: 7 is a number, and no condition; {ABOUT}")),
        ("retry_nmu > 0", "1: there is no variable 'retry_nmu' (a text stands in quotation marks); retry_nmu of 14".into()),
        ("last_error == tls", "15: there is no variable 'tls' (a text stands in quotation marks); tls of 14".into()),
        ("last_error == 'tsl'", "15: last_error is never 'tsl'; tsl of 12".into()),
        ("last_error != 'TLS'", "15: last_error is never 'TLS'; TLS of 12".into()),
        ("source == 'dmarc'", "11: source is never 'dmarc'; dmarc of 7".into()),
        ("listener == 'egres'", "13: 'egres' is no listener with relay = true; egres of 1".into()),
        ("begins_with(mx, 'a')", "1: there is no function 'begins_with'; begins_with of 4".into()),
        ("retry_num(1)", "1: there is no function 'retry_num'; retry_num of 4".into()),
        ("matches", "1: matches is a function; its arguments stand behind it, in parentheses".into()),
        ("retry_num == '1'", "14: retry_num is a number, and '1' is a text; compare things of one kind".into()),
        ("mx == 1", "7: mx is the name of a host or domain, and 1 is a number; compare things of one kind".into()),
        ("retry_num > 30s", "13: retry_num is a number, and this is a duration; compare things of one kind".into()),
        ("30s > 30", "7: this is a duration, and 30 is a number; compare things of one kind".into()),
        ("mx == rcpt", "7: mx is the name of a host or domain, and rcpt is the address of a mailbox; compare things of one kind".into()),
        ("true == true", "9: this is true or false, and this is true or false; join conditions with && and ||".into()),
        ("mx > 'a.example'", "6: texts cannot be compared with >; use == or !=".into()),
        ("sender < rcpt", "10: texts cannot be compared with <; use == or !=".into()),
        ("mx == mx", "7: mx is compared with itself; compare it with a value".into()),
        ("mx == '*.example.org'", "7: '*.example.org' is no name of a host or domain; for all below a domain write ends_with(mx, '.example.org')".into()),
        ("rcpt_domain == 'bücher.example'", "16: 'bücher.example' is no name of a host or domain; write it in A-labels, as DNS has it: xn--…".into()),
        ("rcpt_domain == 'a@b.example'", "16: 'a@b.example' is no name of a host or domain; write it as DNS has it: mail.example.org".into()),
        ("mx == ''", "7: mx is never empty; write the name".into()),
        ("rcpt == 'example.org'", "9: 'example.org' is no address of a mailbox; a domain is compared with rcpt_domain".into()),
        ("remote_ip == '10.0.0.0/8'", "14: '10.0.0.0/8' is no IP address; write '192.0.2.1' or '2001:db8::1'; for a network, starts_with or matches".into()),
        ("retry_num = 1", "11: '=' is unknown; write == to compare".into()),
        ("true & true", "6: '&' is unknown; write && for and".into()),
        ("true | true", "6: '|' is unknown; write || for or".into()),
        ("true and true", "6: the condition ends before this; join conditions with && and ||".into()),
        ("retry_num > -1", "13: '-' is unknown; there are no numbers below 0; a name with '-' in it stands in quotation marks".into()),
        ("retry_num > 1.5", "13: '1.5' is no number, and no duration; write a whole number, 30, or a duration, 300ms, 30s, 1m, 2h, 1d; a text stands in quotation marks".into()),
        ("retry_num > 5w", "13: '5w' is no number, and no duration; write a whole number, 30, or a duration, 300ms, 30s, 1m, 2h, 1d; a text stands in quotation marks".into()),
        ("retry_num > 18446744073709551616", "13: '18446744073709551616' is too large; write a smaller number".into()),
        ("1s < 18446744073709551615d", "6: '18446744073709551615d' is too long; write a smaller number".into()),
        ("mx == 'a.example", "7: this text has no end; close it with '".into()),
        ("mx == \"a.example'", "7: this text has no end; close it with \"".into()),
        ("1 < retry_num < 3", "15: a comparison cannot go on with another; join two comparisons with &&".into()),
        ("!retry_num > 1", "2: retry_num is a number, and ! is for conditions; put what it is about in parentheses: !(retry_num > 0)".into()),
        ("(retry_num > 1", "15: ')' is missing here; see that each '(' has its ')'".into()),
        ("retry_num > 1)", "14: this ')' closes nothing; take it out, or put a '(' before it".into()),
        ("&& true", "1: there is nothing for this to be about; write a variable, a text or a number before it".into()),
        ("true true", "6: the condition ends before this; join conditions with && and ||".into()),
        ("starts_with('mx', mx)", "1: starts_with takes a variable and a text in quotation marks; write starts_with(mx, 'mail.')".into()),
        ("matches(mx, 'mx')", "1: matches takes a variable and a text in quotation marks; write matches('^mx[0-9]+[.]', mx): the regular expression first".into()),
        ("ends_with(mx)", "13: ',' is missing here; see that each '(' has its ')'".into()),
        ("ends_with(mx, 'a', 'b')", "18: ')' is missing here; see that each '(' has its ')'".into()),
        ("contains(retry_num, '1')", "21: retry_num is a number, in which nothing is looked for; compare it with ==".into()),
        ("contains(last_error, 'tl')", "22: last_error is the word for an error, in which nothing is looked for; compare it with ==".into()),
        ("contains(mx, '')", "14: an empty text is in every other; write what to look for".into()),
        ("ends_with(mx, '*.example')", "15: '*.example' is no name of a host or domain; for all below a domain write ends_with(mx, '.example.org')".into()),
        ("matches('(', mx)", "9: this is no regular expression: unclosed group; write matches('^mx[0-9]+[.]', mx): the regular expression first".into()),
        ("matches('((a{99}){99}){99}', mx)", "9: this regular expression is too large; write a simpler one".into()),
        ("retry_num ≥ 1", "11: '≥' is unknown; known here: == != < <= > >= && || ! ( ) and texts in quotation marks".into()),
    ];
    for (text, message) in table {
        let fault = condition(text, &names()).expect_err(text);
        assert_eq!(told(&fault), message, "{text}");
    }
}

#[test]
fn a_result_is_the_id_of_a_strategy_in_quotation_marks_of_its_own() {
    assert_eq!(id("'default'", &names()), Ok("default"));
    assert_eq!(id(" \"disable-tls\" ", &names()), Ok("disable-tls"));
    let table = [
        ("default", "1: 'default' is no text; write the id of a strategy in quotation marks of its own: \"'default'\""),
        (
            "invalid-tls",
            "1: 'invalid-tls' is no text; write the id of a strategy in quotation marks of its own: \"'invalid-tls'\"",
        ),
        (
            "rcpt_domain",
            "1: 'rcpt_domain' is no text; write the id of a strategy in quotation marks of its own: \"'default'\"",
        ),
        ("", "1: '' is no text; write the id of a strategy in quotation marks of its own: \"'default'\""),
        ("false", "1: 'false' is no text; write the id of a strategy in quotation marks of its own: \"'default'\""),
        ("'disable_tls'", "1: there is no strategy 'disable_tls'; disable_tls of 3"),
        (" ''", "2: there is no strategy '';  of 3"),
        ("'default' 'x'", "1: is more than one id; write the id of one strategy: \"'default'\""),
        ("'default", "1: this text has no end; close it with '"),
    ];
    for (text, message) in table {
        let fault = id(text, &names()).expect_err(text);
        assert_eq!(told(&fault), message, "{text}");
    }
}

#[test]
fn an_expression_is_bounded_in_length_and_depth() {
    let nested = |levels: usize| format!("{}retry_num > 1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(condition(&nested(32), &names()).is_ok());
    assert_eq!(
        told(&condition(&nested(33), &names()).unwrap_err()),
        "33: stands deeper than 32 levels; make several rules of it"
    );
    assert!(condition(&nested(5000), &names()).is_err());
    assert!(condition(&format!("{}true", "!".repeat(32)), &names()).is_ok());
    assert!(condition(&format!("{}true", "!".repeat(33)), &names()).is_err());
    let long = |parts: usize| vec!["retry_num>9"; parts].join("||");
    assert!(condition(&long(1260), &names()).is_ok());
    assert!(condition(&long(1261), &names()).is_err());
    assert_eq!(condition(&" ".repeat(LONGEST_EXPRESSION + 1), &names()).unwrap_err().at, 0);
}

fn strategies(rules: &[(&str, &str)]) -> Strategies {
    let strategy = |id: &str| Arc::new(TlsStrategy::new(id));
    let rules = rules.iter().map(|(text, id)| Rule { condition: read(text), strategy: strategy(id) });
    Strategies { rules: rules.collect(), otherwise: strategy("default") }
}

fn chosen(strategies: &Strategies, retry_num: u64, last_error: LastError) -> &str {
    &strategies.choose(&Facts { retry_num, last_error, ..facts() }).unwrap().id
}

#[test]
fn rows_56_and_62_the_first_rule_that_is_true_counts() {
    let ladder = [
        ("retry_num > 1 && last_error == 'tls'", "disable-tls"),
        ("retry_num > 0 && last_error == 'tls'", INVALID_TLS),
    ];
    let right = strategies(&ladder);
    let steps: Vec<_> = (0..4).map(|retry| chosen(&right, retry, LastError::Tls)).collect();
    assert_eq!(steps, ["default", "invalid-tls", "disable-tls", "disable-tls"]);
    assert_eq!(chosen(&right, 3, LastError::Dane), "default");
    // As the documents have it, the second rule is never reached.
    let documented = strategies(&[ladder[1], ladder[0]]);
    let steps: Vec<_> = (0..4).map(|retry| chosen(&documented, retry, LastError::Tls)).collect();
    assert_eq!(steps, ["default", "invalid-tls", "invalid-tls", "invalid-tls"]);
}

#[test]
fn before_the_mx_is_known_all_that_it_may_come_to_is_told() {
    let by_mx = strategies(&[
        ("mx == 'mx1.partner.example'", "disable-tls"),
        ("retry_num > 1", "invalid-tls"),
        ("true", "default"),
    ]);
    let ids = |facts: &Facts<'_>| by_mx.possible(facts).iter().map(|strategy| strategy.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before_mx()), ["disable-tls", "invalid-tls"]);
    assert_eq!(ids(&facts()), ["disable-tls"]);
    assert_eq!(ids(&Facts { retry_num: 0, ..before_mx() }), ["disable-tls", "default"]);
    assert!(by_mx.choose(&before_mx()).is_none());
    assert_eq!(by_mx.choose(&facts()).unwrap().id, "disable-tls");
    let all_alike = strategies(&[("mx == 'mx1.partner.example'", "default")]);
    assert_eq!(all_alike.choose(&before_mx()).unwrap().id, "default");
}

#[test]
fn a_strategy_of_which_nothing_is_said_is_optional_in_all() {
    let strategy = TlsStrategy::new("default");
    assert_eq!([strategy.dane, strategy.mta_sts, strategy.starttls], [Requirement::Optional; 3]);
    assert!(!strategy.allow_invalid_certs && !strategy.requires_tls());
    assert!(TlsStrategy::new(INVALID_TLS).allow_invalid_certs);
    assert!(TlsStrategy { dane: Requirement::Require, ..strategy }.requires_tls());
}

fn hidden(texts: &[&str]) -> Vec<Unreachable> {
    let conditions: Vec<_> = texts.iter().map(|text| read(text)).collect();
    unreachable(&conditions.iter().collect::<Vec<_>>())
}

#[test]
fn a_rule_that_can_never_count_is_told_with_its_reason() {
    let earlier = |rule, by| vec![Unreachable { rule, because: Because::Rule(by) }];
    let never = |rule| vec![Unreachable { rule, because: Because::Contradiction }];
    let before = |rule| vec![Unreachable { rule, because: Because::RulesBefore }];
    let table: [(&[&str], Vec<Unreachable>); 37] = [
        // The documents' own example, and the right order.
        (&["retry_num > 0 && last_error == 'tls'", "retry_num > 1 && last_error == 'tls'"], earlier(1, 0)),
        (&["retry_num > 1 && last_error == 'tls'", "retry_num > 0 && last_error == 'tls'"], vec![]),
        (&["retry_num > 0", "retry_num >= 1"], earlier(1, 0)),
        (&["retry_num >= 1", "retry_num > 0 && mx == 'a.example'"], earlier(1, 0)),
        (&["retry_num != 0", "retry_num > 3"], earlier(1, 0)),
        (&["retry_num > 0", "retry_num != 3"], vec![]),
        (&["retry_num > 0", "retry_num != 0"], earlier(1, 0)),
        (&["retry_num <= 3", "retry_num == 0", "retry_num < 4"], [earlier(1, 0), earlier(2, 0)].concat()),
        (&["retry_num < 2", "retry_num > 4", "retry_num == 3"], vec![]),
        (&["retry_num < 2", "retry_num > 1", "mx == 'a.example'"], before(2)),
        (&["retry_num > 2 && retry_num < 3"], never(0)),
        (&["retry_num < 0"], never(0)),
        (&["retry_num > 18446744073709551615"], never(0)),
        (&["retry_num >= 1 && retry_num <= 2 && retry_num != 1 && !(retry_num == 2)"], never(0)),
        (&["domain_failures > retry_num", "domain_failures > retry_num && source == 'dsn'"], earlier(1, 0)),
        // Constants.
        (&["true", "retry_num > 0"], [earlier(1, 0), earlier(2, 0)].concat()),
        (&["1 > 2"], never(0)),
        (&["retry_num > 0 || 30s < 1m"], earlier(1, 0)),
        (&["retry_num >= 0"], earlier(1, 0)),
        // Texts.
        (&["mx == 'a.example'", "mx == 'A.Example.'"], earlier(1, 0)),
        (&["mx == 'a.example'", "mx == 'b.example'"], vec![]),
        (&["mx == 'a.example' && mx == 'b.example'"], never(0)),
        (&["mx != 'a.example'", "mx == 'b.example'"], earlier(1, 0)),
        (&["mx != 'a.example'", "mx == 'a.example'", "retry_num > 0"], before(2)),
        (&["ends_with(mx, '.example')", "ends_with(mx, '.a.example')"], earlier(1, 0)),
        (&["ends_with(mx, '.a.example')", "ends_with(mx, '.example')"], vec![]),
        (&["ends_with(mx, '.example')", "mx == 'a.example'"], earlier(1, 0)),
        (&["contains(mx, 'exam')", "starts_with(mx, 'example')"], earlier(1, 0)),
        (&["starts_with(mx, 'a') && starts_with(mx, 'b')"], never(0)),
        (&["matches('^a', mx)", "mx == 'ab.example'"], earlier(1, 0)),
        (&["matches('^a', mx)", "matches('^a', mx) && retry_num > 0"], earlier(1, 0)),
        (&["matches('^a', mx)", "matches('^ab', mx)"], vec![]),
        (&["sender_domain == rcpt_domain", "sender_domain == rcpt_domain && retry_num > 0"], earlier(1, 0)),
        // Words.
        (&["last_error != 'tls'", "last_error == 'dane'"], earlier(1, 0)),
        (&["last_error == 'tls'", "last_error != 'tls'", "retry_num > 0"], before(2)),
        // Of a list.
        (
            &[
                "rcpt_domain == 'a.example' || rcpt_domain == 'b.example'",
                "rcpt_domain == 'b.example' && retry_num > 0",
            ],
            earlier(1, 0),
        ),
        (
            &[
                "rcpt_domain == 'a.example'",
                "rcpt_domain == 'b.example'",
                "rcpt_domain == 'a.example' || rcpt_domain == 'b.example'",
            ],
            before(2),
        ),
    ];
    for (texts, expected) in table {
        assert_eq!(hidden(texts), expected, "{texts:?}");
    }
}

#[test]
fn complete_rules_do_not_make_an_else_that_has_to_be_there_wrong() {
    assert_eq!(hidden(&["retry_num == 0", "retry_num > 0"]), []);
}

#[test]
fn the_search_for_hidden_rules_ends_soon_for_any_list() {
    let text = |at: usize| {
        let alternatives = |of: usize| format!("(rcpt_domain == 'a{of}.example' || retry_num > {of})");
        (0..20).map(|of| alternatives(at * 20 + of)).collect::<Vec<_>>().join(" && ")
    };
    let texts: Vec<_> = (0..200).map(text).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let _ = hidden(&texts);
    let wide = vec!["retry_num > 9"; 900].join(" && ");
    let _ = hidden(&vec![wide.as_str(); 50]);
}

/// A little generator of conditions and facts; the same at each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0 | 1 => {
                let order = self.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {order} {}", self.of(&["retry_num", "domain_failures"]), self.below(4))
            }
            2 => format!("last_error {} '{}'", self.of(&["==", "!="]), self.of(&["tls", "dane", "none"])),
            3 => format!("mx {} '{}'", self.of(&["==", "!="]), self.of(&["a.b.c", "x.b.c", "a.b"])),
            4 => format!(
                "{}(mx, '{}')",
                self.of(&["starts_with", "ends_with", "contains"]),
                self.of(&["a", "b.c", ".b", "a.b.c"])
            ),
            5 => self.of(&["matches('^a', mx)", "mx == rcpt_domain", "retry_num > domain_failures", "true"]).to_owned(),
            6 => format!("!({})", self.condition(depth - 1)),
            7 => format!("({} || {})", self.condition(depth - 1), self.condition(depth - 1)),
            _ => format!("({} && {})", self.condition(depth - 1), self.condition(depth - 1)),
        }
    }

    fn facts(&mut self) -> Facts<'static> {
        Facts {
            retry_num: self.below(5) as u64,
            domain_failures: self.below(5) as u64,
            last_error: [LastError::Tls, LastError::Dane, LastError::None, LastError::Io][self.below(4)],
            mx: Some(self.of(&["a.b.c", "x.b.c", "a.b", "b.c", "partner.example", "z"])),
            ..facts()
        }
    }
}

#[test]
fn no_rule_that_counts_is_called_hidden() {
    let mut random = Random(7);
    let (mut told, mut tried) = (0, 0);
    for _ in 0..1500 {
        let texts: Vec<_> = (0..4).map(|_| random.condition(3)).collect();
        let conditions: Vec<_> = texts.iter().map(|text| read(text)).collect();
        let hidden = unreachable(&conditions.iter().collect::<Vec<_>>());
        told += hidden.len();
        for _ in 0..60 {
            let facts = random.facts();
            let first = conditions.iter().position(|condition| condition.holds(&facts).unwrap()).unwrap_or(4);
            assert!(hidden.iter().all(|rule| rule.rule != first), "{texts:?} {hidden:?} {facts:?}");
            tried += 1;
        }
    }
    assert!(told > 300 && tried == 90_000, "{told} of {tried}");
}

#[test]
fn what_is_not_known_never_changes_what_was_already_decided() {
    let mut random = Random(11);
    for _ in 0..3000 {
        let text = random.condition(4);
        let (condition, facts) = (read(&text), random.facts());
        let early = condition.holds(&Facts { mx: None, ..facts.clone() });
        let late = condition.holds(&facts);
        assert!(late.is_some() && (early.is_none() || early == late), "{text} {facts:?}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let parts = [
        "retry_num",
        "mx",
        "last_error",
        "(",
        ")",
        "!",
        "&&",
        "||",
        "==",
        "<",
        "'tls'",
        "'",
        "\"",
        "30s",
        "7",
        "matches(",
        ",",
        "é",
        " ",
        "starts_with(mx, 'a')",
        "-",
        "\u{0}",
        "99999999999999999999",
        "'[a'",
        "true",
        "\u{a0}",
        ".",
    ];
    let mut random = Random(3);
    for _ in 0..20_000 {
        let text: String = (0..random.below(12)).map(|_| random.of(&parts)).collect();
        let length = text.len();
        match condition(&text, &names()) {
            Ok(condition) => drop(condition.holds(&before_mx())),
            Err(fault) => assert!(text.is_char_boundary(fault.at) && fault.at <= length, "{text:?} {fault:?}"),
        }
        if let Err(fault) = id(&text, &names()) {
            assert!(text.is_char_boundary(fault.at) && fault.at <= length, "{text:?} {fault:?}");
        }
    }
}
