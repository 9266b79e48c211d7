//! Reads an expression; every text gives an expression or an error, never a panic.

use super::time::Instant;
use super::{Attribute, ConditionError, Node, Order, Test};

/// Google allows twelve logical operators in an expression.
const OPERATORS: usize = 12;
/// Parentheses and negations within each other; twelve operators need no more.
const DEPTH: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
    End,
}

/// The longer signs come first, so that `<=` is not read as `<`.
const SIGNS: [&str; 14] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ","];

pub(super) fn expression(text: &str) -> Result<Node, ConditionError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, operators: 0, depth: 0 };
    let node = parser.any()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.expected("`&&`, `||` or the end")),
    }
}

/// Words keep their dots, so that `resource.name.startsWith` is one of them.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let rest = &characters[at..];
        let sign = SIGNS.into_iter().find(|it| rest.iter().take(it.len()).copied().eq(it.chars()));
        let start = at;
        if character.is_whitespace() {
            at += 1;
            continue;
        } else if let Some(sign) = sign {
            at += sign.len();
            tokens.push((start, Token::Sign(sign)));
        } else if character == '"' || character == '\'' {
            let (text, length) = quoted(rest, start)?;
            at += length;
            tokens.push((start, Token::Text(text)));
        } else {
            let word: String = rest
                .iter()
                .take_while(|it| it.is_alphanumeric() || matches!(it, '_' | '.'))
                .collect();
            if word.is_empty() {
                return Err(ConditionError::Unsupported(character.to_string()));
            }
            at += word.chars().count();
            tokens.push((start, Token::Word(word)));
        }
    }
    tokens.push((at, Token::End));
    Ok(tokens)
}

/// A text in quotes, and how many characters it takes with them.
fn quoted(characters: &[char], start: usize) -> Result<(String, usize), ConditionError> {
    let mut text = String::new();
    let mut rest = characters.iter().enumerate().skip(1);
    while let Some((index, character)) = rest.next() {
        match character {
            it if *it == characters[0] => return Ok((text, index + 1)),
            '\\' => match rest.next() {
                Some((_, it @ ('\\' | '"' | '\'' | '`' | '?'))) => text.push(*it),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, it)) => return Err(ConditionError::Unsupported(format!("\\{it}"))),
                None => break,
            },
            '\n' | '\r' => break,
            it => text.push(*it),
        }
    }
    Err(ConditionError::Syntax { at: start, expected: "a text that ends in its quote" })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    operators: usize,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Node, ConditionError> {
        self.chain("||", Self::all, Node::Any)
    }

    fn all(&mut self) -> Result<Node, ConditionError> {
        self.chain("&&", Self::term, Node::All)
    }

    fn chain(
        &mut self,
        operator: &'static str,
        part: impl Fn(&mut Self) -> Result<Node, ConditionError>,
        join: impl Fn(Vec<Node>) -> Node,
    ) -> Result<Node, ConditionError> {
        let first = part(self)?;
        let mut nodes = vec![first];
        while self.take(operator) {
            self.count()?;
            nodes.push(part(self)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { join(nodes) })
    }

    /// A negation, something in parentheses, or a comparison.
    fn term(&mut self) -> Result<Node, ConditionError> {
        if self.depth >= DEPTH {
            return Err(ConditionError::TooLarge { what: "nesting", limit: DEPTH });
        }
        self.depth += 1;
        let node = if self.take("!") {
            self.count()?;
            self.term().map(|it| Node::Not(Box::new(it)))
        } else if self.take("(") {
            self.any().and_then(|it| self.need(")", "`)`").map(|()| it))
        } else {
            self.comparison()
        };
        self.depth -= 1;
        node
    }

    fn comparison(&mut self) -> Result<Node, ConditionError> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.next += 1;
                let node = self.reversed(text);
                node.map(|(attribute, test)| Node::Text(attribute, test))
            }
            Token::Word(word) if word == "timestamp" => {
                let then = self.timestamp()?;
                let order = self.order()?.turned();
                self.word("request.time", "`request.time`")?;
                Ok(Node::Time(order, then))
            }
            Token::Word(word) if word == "request.time" => {
                self.next += 1;
                let order = self.order()?;
                Ok(Node::Time(order, self.timestamp()?))
            }
            Token::Word(word) => {
                self.next += 1;
                self.attribute(&word)
            }
            _ => Err(self.expected("an attribute")),
        }
    }

    /// `resource.name == "…"`, `resource.name in […]` or `resource.name.startsWith("…")`.
    fn attribute(&mut self, word: &str) -> Result<Node, ConditionError> {
        if let Some(attribute) = Attribute::named(word) {
            let test = if self.take("==") {
                Test::Is(self.text()?)
            } else if self.take("!=") {
                Test::IsNot(self.text()?)
            } else if *self.peek() == Token::Word("in".to_owned()) {
                self.next += 1;
                Test::In(self.list()?)
            } else {
                return Err(self.expected("`==`, `!=` or `in`"));
            };
            return Ok(Node::Text(attribute, test));
        }
        let unsupported = || ConditionError::Unsupported(word.to_owned());
        let (name, method) = word.rsplit_once('.').ok_or_else(unsupported)?;
        let attribute = Attribute::named(name).ok_or_else(unsupported)?;
        let test = match method {
            "startsWith" => Test::StartsWith,
            "endsWith" => Test::EndsWith,
            _ => return Err(unsupported()),
        };
        self.need("(", "`(`")?;
        let text = self.text()?;
        self.need(")", "`)`")?;
        Ok(Node::Text(attribute, test(text)))
    }

    /// `"…" == resource.name`
    fn reversed(&mut self, text: String) -> Result<(Attribute, Test), ConditionError> {
        let test = if self.take("==") {
            Test::Is
        } else if self.take("!=") {
            Test::IsNot
        } else {
            return Err(self.expected("`==` or `!=`"));
        };
        let Token::Word(word) = self.peek().clone() else {
            return Err(self.expected("an attribute"));
        };
        let attribute = Attribute::named(&word).ok_or(ConditionError::Unsupported(word))?;
        self.next += 1;
        Ok((attribute, test(text)))
    }

    fn list(&mut self) -> Result<Vec<String>, ConditionError> {
        self.need("[", "`[`")?;
        let mut texts = Vec::new();
        while !self.take("]") {
            if !texts.is_empty() {
                self.need(",", "`,` or `]`")?;
            }
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    fn timestamp(&mut self) -> Result<Instant, ConditionError> {
        self.word("timestamp", "`timestamp(\"…\")`")?;
        self.need("(", "`(`")?;
        let at = self.next;
        let text = self.text()?;
        let expected = "a time such as 2026-01-31T00:00:00Z";
        let error = ConditionError::Syntax { at: self.tokens[at].0, expected };
        let then = Instant::read(&text).ok_or(error)?;
        self.need(")", "`)`")?;
        Ok(then)
    }

    fn order(&mut self) -> Result<Order, ConditionError> {
        let orders = [
            ("<", Order::Before),
            ("<=", Order::NotAfter),
            (">", Order::After),
            (">=", Order::NotBefore),
        ];
        let found = orders.into_iter().find(|(sign, _)| self.take(sign));
        found.map(|(_, order)| order).ok_or_else(|| self.expected("`<`, `<=`, `>` or `>=`"))
    }

    fn text(&mut self) -> Result<String, ConditionError> {
        let Token::Text(text) = self.peek().clone() else {
            return Err(self.expected("a text in quotes"));
        };
        self.next += 1;
        Ok(text)
    }

    fn word(&mut self, word: &str, expected: &'static str) -> Result<(), ConditionError> {
        if *self.peek() != Token::Word(word.to_owned()) {
            return Err(self.expected(expected));
        }
        self.next += 1;
        Ok(())
    }

    fn need(&mut self, sign: &'static str, expected: &'static str) -> Result<(), ConditionError> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn take(&mut self, sign: &'static str) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        self.next += usize::from(found);
        found
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    /// The error at the next token: what is known elsewhere is unsupported, the rest is wrong.
    fn expected(&self, expected: &'static str) -> ConditionError {
        match self.peek() {
            Token::Word(word) => ConditionError::Unsupported(word.clone()),
            _ => {
                let at = self.tokens[self.next.min(self.tokens.len() - 1)].0;
                ConditionError::Syntax { at, expected }
            }
        }
    }

    fn count(&mut self) -> Result<(), ConditionError> {
        self.operators += 1;
        if self.operators > OPERATORS {
            return Err(ConditionError::TooLarge { what: "operators", limit: OPERATORS });
        }
        Ok(())
    }
}

impl Attribute {
    fn named(word: &str) -> Option<Self> {
        match word {
            "resource.name" => Some(Self::Name),
            "resource.type" => Some(Self::Type),
            "resource.service" => Some(Self::Service),
            _ => None,
        }
    }
}

impl Order {
    /// The same, seen from the other side: `a < b` is `b > a`.
    fn turned(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::NotAfter => Self::NotBefore,
            Self::After => Self::Before,
            Self::NotBefore => Self::NotAfter,
        }
    }
}
