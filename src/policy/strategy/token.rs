//! The words and signs of an expression.
//!
//! A text stands in single or double quotation marks and goes to the next one of the same kind; nothing in it is an escape.

use std::time::Duration;

use super::fault::{Fault, shown};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    Word(&'t str),
    Text(&'t str),
    Number(u64),
    Duration(Duration),
    Compare(Order),
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    End,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Order {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    pub(super) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }

    /// The one that says the same of the two sides swapped.
    pub(super) const fn swapped(self) -> Self {
        match self {
            Self::Equal | Self::Unequal => self,
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
        }
    }
}

const SIGNS: [(&str, Token<'static>); 12] = [
    ("==", Token::Compare(Order::Equal)),
    ("!=", Token::Compare(Order::Unequal)),
    ("<=", Token::Compare(Order::AtMost)),
    (">=", Token::Compare(Order::AtLeast)),
    ("<", Token::Compare(Order::Less)),
    (">", Token::Compare(Order::Greater)),
    ("&&", Token::And),
    ("||", Token::Or),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

/// Reads one token after the other.
pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token, and where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'t>), Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start().len();
        let (at, rest) = (self.at + blanks, &rest[blanks..]);
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(quote @ ('\'' | '"')) => quoted(at, rest, quote)?,
            Some(digit) if digit.is_ascii_digit() => number(at, word(rest))?,
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
                (Token::Word(word(rest)), word(rest).len())
            }
            Some(other) => sign(at, rest, other)?,
        };
        self.at = at + length;
        Ok((at, token))
    }
}

/// A hyphen belongs to a word, so that an id without quotation marks is seen as one.
fn word(rest: &str) -> &str {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-' | '.'));
    &rest[..end.unwrap_or(rest.len())]
}

fn quoted(at: usize, rest: &str, quote: char) -> Result<(Token<'_>, usize), Fault> {
    let inner = &rest[1..];
    match inner.find(quote) {
        Some(end) => Ok((Token::Text(&inner[..end]), end + 2)),
        None => Err(Fault::new(at, "this text has no end", format!("close it with {quote}"))),
    }
}

fn number(at: usize, word: &str) -> Result<(Token<'_>, usize), Fault> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let number: u64 = number.parse().map_err(|_| Fault::new(at, format!("{} is too large", shown(word)), LARGEST))?;
    let milliseconds = match unit {
        "" => return Ok((Token::Number(number), word.len())),
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            let right =
                "write a whole number, 30, or a duration, 300ms, 30s, 1m, 2h, 1d; a text stands in quotation marks";
            return Err(Fault::new(at, format!("{} is no number, and no duration", shown(word)), right));
        }
    };
    let length = number.checked_mul(milliseconds).map(Duration::from_millis);
    let length = length.ok_or_else(|| Fault::new(at, format!("{} is too long", shown(word)), LARGEST))?;
    Ok((Token::Duration(length), word.len()))
}

const LARGEST: &str = "write a smaller number";

fn sign(at: usize, rest: &str, first: char) -> Result<(Token<'static>, usize), Fault> {
    if let Some((sign, token)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Ok((*token, sign.len()));
    }
    let right = match first {
        '=' => "write == to compare",
        '&' => "write && for and",
        '|' => "write || for or",
        '-' => "there are no numbers below 0; a name with '-' in it stands in quotation marks",
        _ => "known here: == != < <= > >= && || ! ( ) and texts in quotation marks",
    };
    Err(Fault::new(at, format!("{} is unknown", shown(first.encode_utf8(&mut [0; 4]))), right))
}
