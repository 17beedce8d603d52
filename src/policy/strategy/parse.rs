//! Text to condition, by recursive descent:
//!
//! ```text
//! any        = all { "||" all }
//! all        = comparison { "&&" comparison }
//! comparison = unary [ ("==" | "!=" | "<" | "<=" | ">" | ">=") unary ]
//! unary      = "!" unary | primary
//! primary    = "(" any ")" | function "(" any "," any ")" | variable | text | number | duration | "true" | "false"
//! ```
//!
//! Refuses an expression above [`LONGEST_EXPRESSION`], and one that is nested deeper than [`DEEPEST`].

use super::{
    compare::{Function, Operand, Term, call, compare},
    condition::{Condition, Tree},
    facts::Variable,
    fault::{Fault, shown},
    token::{Order, Token, Tokens},
};

/// The longest expression, in bytes.
pub const LONGEST_EXPRESSION: usize = 16 << 10;

/// How deep parentheses, functions and `!` may stand in each other.
const DEEPEST: usize = 32;

/// The names of the file that an expression may mention.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Of the listeners with `relay = true`.
    pub listeners: Vec<String>,
    /// Of the strategies.
    pub strategies: Vec<String>,
}

/// Reads what stands behind `if`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn condition(text: &str, names: &Names) -> Result<Condition, Fault> {
    let mut parser = Parser::new(text, names)?;
    let term = parser.any()?;
    parser.end()?;
    Ok(Condition { tree: truth(term)?, text: text.trim().to_owned() })
}

/// Reads what stands behind `then` and `else`: the id of a strategy, in quotation marks of its own.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn id<'t>(text: &'t str, names: &Names) -> Result<&'t str, Fault> {
    let known = || names.strategies.iter().map(String::as_str);
    let mut tokens = Tokens::new(text);
    let (at, token) = tokens.next()?;
    let Token::Text(id) = token else {
        let bare = text.trim();
        let example = if known().any(|id| id == bare) { bare } else { "default" };
        let right = format!("write the id of a strategy in quotation marks of its own: \"'{example}'\"");
        return Err(Fault::new(at, format!("{} is no text", shown(bare)), right));
    };
    let (_, Token::End) = tokens.next()? else {
        return Err(Fault::new(at, "is more than one id", "write the id of one strategy: \"'default'\""));
    };
    if known().any(|known| known == id) {
        return Ok(id);
    }
    Err(Fault::unknown(at, format!("there is no strategy {}", shown(id)), id, known()))
}

/// The condition that a term is.
fn truth(term: Term<'_>) -> Result<Tree, Fault> {
    match term.operand {
        Operand::Condition(tree) => Ok(tree),
        _ => {
            let right = "a condition compares: retry_num > 0, mx == 'mx.example.org'";
            Err(Fault::new(term.at, format!("{}, and no condition", term.described()), right))
        }
    }
}

struct Parser<'t, 'n> {
    tokens: Tokens<'t>,
    at: usize,
    token: Token<'t>,
    names: &'n Names,
    depth: usize,
}

impl<'t, 'n> Parser<'t, 'n> {
    fn new(text: &'t str, names: &'n Names) -> Result<Self, Fault> {
        if text.len() > LONGEST_EXPRESSION {
            let what = format!("is longer than {LONGEST_EXPRESSION} bytes");
            return Err(Fault::new(0, what, "make several rules of it"));
        }
        let mut tokens = Tokens::new(text);
        let (at, token) = tokens.next()?;
        Ok(Self { tokens, at, token, names, depth: 0 })
    }

    fn advance(&mut self) -> Result<Token<'t>, Fault> {
        let (at, next) = self.tokens.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn any(&mut self) -> Result<Term<'t>, Fault> {
        self.joined(Token::Or, Self::all, Tree::Any)
    }

    fn all(&mut self) -> Result<Term<'t>, Fault> {
        self.joined(Token::And, Self::comparison, Tree::All)
    }

    fn joined(
        &mut self,
        sign: Token<'static>,
        part: fn(&mut Self) -> Result<Term<'t>, Fault>,
        join: fn(Vec<Tree>) -> Tree,
    ) -> Result<Term<'t>, Fault> {
        let first = part(self)?;
        if self.token != sign {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![truth(first)?];
        while self.token == sign {
            self.advance()?;
            let next = part(self)?;
            parts.push(truth(next)?);
        }
        Ok(Term { at, operand: Operand::Condition(join(parts)) })
    }

    fn comparison(&mut self) -> Result<Term<'t>, Fault> {
        let left = self.unary()?;
        let Some(order) = self.order() else { return Ok(left) };
        self.advance()?;
        let (at, right) = (left.at, self.unary()?);
        if self.order().is_some() {
            let right = "join two comparisons with &&";
            return Err(Fault::new(self.at, "a comparison cannot go on with another", right));
        }
        Ok(Term { at, operand: Operand::Condition(compare(left, order, right, self.names)?) })
    }

    fn order(&self) -> Option<Order> {
        match self.token {
            Token::Compare(order) => Some(order),
            _ => None,
        }
    }

    fn unary(&mut self) -> Result<Term<'t>, Fault> {
        let at = self.at;
        if self.token != Token::Not {
            return self.primary();
        }
        self.advance()?;
        let inner = self.deeper(at, Self::unary)?;
        if !matches!(inner.operand, Operand::Condition(_)) {
            let right = "put what it is about in parentheses: !(retry_num > 0)";
            return Err(Fault::new(inner.at, format!("{}, and ! is for conditions", inner.described()), right));
        }
        let tree = Tree::Not(Box::new(truth(inner)?));
        Ok(Term { at, operand: Operand::Condition(tree) })
    }

    fn primary(&mut self) -> Result<Term<'t>, Fault> {
        let at = self.at;
        let operand = match self.advance()? {
            Token::Open => {
                let inner = self.deeper(at, Self::any)?;
                self.expect(Token::Close, "')'")?;
                inner.operand
            }
            Token::Word(word) => self.word(at, word)?,
            Token::Text(text) => Operand::Text(text),
            Token::Number(number) => Operand::Number(number),
            Token::Duration(length) => Operand::Duration(length),
            Token::End => {
                return Err(Fault::new(at, "the expression ends here", "write a variable, a text or a number"));
            }
            Token::Compare(_) | Token::And | Token::Or | Token::Not | Token::Close | Token::Comma => {
                let right = "write a variable, a text or a number before it";
                return Err(Fault::new(at, "there is nothing for this to be about", right));
            }
        };
        Ok(Term { at, operand })
    }

    fn word(&mut self, at: usize, word: &str) -> Result<Operand<'t>, Fault> {
        let function = Function::ALL.into_iter().find(|function| function.name() == word);
        if self.token == Token::Open {
            let functions = Function::ALL.map(Function::name);
            let unknown = || Fault::unknown(at, format!("there is no function {}", shown(word)), word, functions);
            return self.call(at, function.ok_or_else(unknown)?);
        }
        if let Some(function) = function {
            let what = format!("{} is a function", function.name());
            return Err(Fault::new(at, what, "its arguments stand behind it, in parentheses"));
        }
        match word {
            "true" => return Ok(Operand::Condition(Tree::Constant(true))),
            "false" => return Ok(Operand::Condition(Tree::Constant(false))),
            _ => {}
        }
        let variable = Variable::ALL.into_iter().find(|variable| variable.name() == word);
        variable.map(Operand::Variable).ok_or_else(|| {
            let what = format!("there is no variable {} (a text stands in quotation marks)", shown(word));
            Fault::unknown(at, what, word, Variable::ALL.map(Variable::name))
        })
    }

    fn call(&mut self, at: usize, function: Function) -> Result<Operand<'t>, Fault> {
        self.advance()?;
        let first = self.deeper(at, Self::any)?;
        self.expect(Token::Comma, "','")?;
        let second = self.deeper(at, Self::any)?;
        self.expect(Token::Close, "')'")?;
        call(function, at, &first, &second).map(Operand::Condition)
    }

    fn deeper(&mut self, at: usize, read: fn(&mut Self) -> Result<Term<'t>, Fault>) -> Result<Term<'t>, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::new(at, format!("stands deeper than {DEEPEST} levels"), "make several rules of it"));
        }
        self.depth += 1;
        let term = read(self);
        self.depth -= 1;
        term
    }

    fn expect(&mut self, token: Token<'static>, sign: &str) -> Result<(), Fault> {
        if self.token != token {
            return Err(Fault::new(self.at, format!("{sign} is missing here"), "see that each '(' has its ')'"));
        }
        self.advance().map(drop)
    }

    fn end(&self) -> Result<(), Fault> {
        match self.token {
            Token::End => Ok(()),
            Token::Close => Err(Fault::new(self.at, "this ')' closes nothing", "take it out, or put a '(' before it")),
            _ => Err(Fault::new(self.at, "the condition ends before this", "join conditions with && and ||")),
        }
    }
}
