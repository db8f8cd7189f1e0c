//! Numbers of a rule that are computed from the tensor and the list: `0.02/sqrt(2*layers)`.
//!
//! All operations are defined by IEEE 754 to the last bit, so a recipe gives the same numbers on every
//! host.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = factor { ("*" | "/") factor }
//! factor  = "-" factor | "(" sum ")" | number | name [ "(" arguments ")" ]
//! ```

use super::glob::Globs;
use crate::text::quoted;

/// The most levels of parentheses and signs. The parser and `value` use recursion, so text from an
/// untrusted recipe must not decide the depth of the stack.
const MAX_DEPTH: usize = 64;

/// A value that an expression takes from the tensor or the list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Variable {
    /// The number of layers, counted by the numbers in the names of tensors.
    Layers,
    /// The tensor's own layer, from 0.
    Layer,
    /// The tensor's fan_in.
    FanIn,
    /// The tensor's fan_out.
    FanOut,
    /// The tensor's rank.
    Rank,
    /// A dimension of the tensor. Negative numbers count from the last.
    Dim(i64),
    /// A dimension of the first tensor whose name matches the glob.
    Size(String, i64),
    /// A dimension of the tensor whose name differs only in its last part, which is this text.
    Sibling(String, i64),
    /// The number of tensors whose names match the glob.
    Count(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    Variable(Variable),
    Negative(Box<Expression>),
    Sqrt(Box<Expression>),
    Binary(Operation, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Minimum,
    Maximum,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// A message for the key that has the expression.
    pub fn parse(text: &str) -> Result<Expression, String> {
        let mut parser = Parser { rest: text };
        let expression = parser.sum(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(c) => Err(format!("{c:?} is out of place in {}", quoted(text))),
        }
    }

    /// Returns the value. `look_up` gives the values of variables.
    pub fn value<E>(&self, look_up: &impl Fn(&Variable) -> Result<f64, E>) -> Result<f64, E> {
        Ok(match self {
            Expression::Number(number) => *number,
            Expression::Variable(variable) => look_up(variable)?,
            Expression::Negative(inner) => -inner.value(look_up)?,
            Expression::Sqrt(inner) => inner.value(look_up)?.sqrt(),
            Expression::Binary(operation, left, right) => {
                let (left, right) = (left.value(look_up)?, right.value(look_up)?);
                match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::Multiply => left * right,
                    Operation::Divide => left / right,
                    // min and max would hide a NaN.
                    Operation::Minimum | Operation::Maximum if left.is_nan() || right.is_nan() => {
                        f64::NAN
                    }
                    Operation::Minimum => left.min(right),
                    Operation::Maximum => left.max(right),
                }
            }
        })
    }

    /// Adds the globs of its variables to `globs`.
    pub fn add_globs<'a>(&'a self, globs: &mut Vec<&'a str>) {
        match self {
            Expression::Variable(Variable::Size(glob, _) | Variable::Count(glob)) => {
                globs.push(glob);
            }
            Expression::Number(_) | Expression::Variable(_) => {}
            Expression::Negative(inner) | Expression::Sqrt(inner) => inner.add_globs(globs),
            Expression::Binary(_, left, right) => {
                left.add_globs(globs);
                right.add_globs(globs);
            }
        }
    }

    /// Returns true if the value depends on the tensor's fans.
    pub fn uses_fans(&self) -> bool {
        match self {
            Expression::Number(_) => false,
            Expression::Variable(variable) => {
                matches!(variable, Variable::FanIn | Variable::FanOut)
            }
            Expression::Negative(inner) | Expression::Sqrt(inner) => inner.uses_fans(),
            Expression::Binary(_, left, right) => left.uses_fans() || right.uses_fans(),
        }
    }

    /// Returns false if the expression is a number with or without signs.
    pub fn is_computed(&self) -> bool {
        match self {
            Expression::Number(_) => false,
            Expression::Negative(inner) => inner.is_computed(),
            _ => true,
        }
    }
}

fn too_deep() -> String {
    format!("parentheses and signs are nested too deeply: at most {MAX_DEPTH} levels are read")
}

/// A recursive descent parser, with a function for each line of the grammar. Functions count their
/// depth, up to [`MAX_DEPTH`].
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Skips blanks and returns the next character.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Skips a character and returns true, if it is the next one.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(c) => format!("{wanted:?} is expected in place of {c:?}"),
            None => format!("{wanted:?} is expected at its end"),
        })
    }

    fn sum(&mut self, depth: usize) -> Result<Expression, String> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let mut left = self.product(depth)?;
        loop {
            let operation = if self.take('+') {
                Operation::Add
            } else if self.take('-') {
                Operation::Subtract
            } else {
                return Ok(left);
            };
            let right = self.product(depth)?;
            // A chain of n operators makes a tree of depth n, which MAX_DEPTH does not count. The callers
            // bound the length of the text.
            left = Expression::Binary(operation, Box::new(left), Box::new(right));
        }
    }

    fn product(&mut self, depth: usize) -> Result<Expression, String> {
        let mut left = self.factor(depth)?;
        loop {
            let operation = if self.take('*') {
                Operation::Multiply
            } else if self.take('/') {
                Operation::Divide
            } else {
                return Ok(left);
            };
            let right = self.factor(depth)?;
            left = Expression::Binary(operation, Box::new(left), Box::new(right));
        }
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, String> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if self.take('-') {
            return Ok(Expression::Negative(Box::new(self.factor(depth + 1)?)));
        }
        if self.take('(') {
            let inner = self.sum(depth + 1)?;
            self.expect(')')?;
            return Ok(inner);
        }
        match self.peek() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.name(depth),
            Some(c) => Err(format!("a number or a name is expected in place of {c:?}")),
            None => Err("a number or a name is expected at its end".to_owned()),
        }
    }

    fn number(&mut self) -> Result<Expression, String> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while let Some(&byte) = bytes.get(end) {
            // After the e of an exponent a sign is part of the number, elsewhere it is an operator.
            let sign =
                matches!(byte, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
            if !(byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E') || sign) {
                break;
            }
            end += 1;
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text.parse()
            .map(Expression::Number)
            .map_err(|_| format!("{} is not a decimal number", quoted(text)))
    }

    fn name(&mut self, depth: usize) -> Result<Expression, String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let variable = match name {
            "layers" => Variable::Layers,
            "layer" => Variable::Layer,
            "fan_in" => Variable::FanIn,
            "fan_out" => Variable::FanOut,
            "rank" => Variable::Rank,
            "dim" => {
                self.expect('(')?;
                let axis = self.integer()?;
                self.expect(')')?;
                Variable::Dim(axis)
            }
            "size" | "sibling" => {
                self.expect('(')?;
                let text = self.quoted()?;
                self.expect(',')?;
                let axis = self.integer()?;
                self.expect(')')?;
                if name == "size" {
                    Globs::check(&text)?;
                    Variable::Size(text, axis)
                } else {
                    Variable::Sibling(text, axis)
                }
            }
            "count" => {
                self.expect('(')?;
                let glob = self.quoted()?;
                self.expect(')')?;
                Globs::check(&glob)?;
                Variable::Count(glob)
            }
            "sqrt" => {
                self.expect('(')?;
                let inner = self.sum(depth + 1)?;
                self.expect(')')?;
                return Ok(Expression::Sqrt(Box::new(inner)));
            }
            "min" | "max" => {
                self.expect('(')?;
                let left = self.sum(depth + 1)?;
                self.expect(',')?;
                let right = self.sum(depth + 1)?;
                self.expect(')')?;
                let operation = if name == "min" {
                    Operation::Minimum
                } else {
                    Operation::Maximum
                };
                return Ok(Expression::Binary(
                    operation,
                    Box::new(left),
                    Box::new(right),
                ));
            }
            _ => {
                return Err(format!(
                    "unknown name {}: use layers, layer, fan_in, fan_out, rank, dim(k), \
                     size(\"glob\", k), sibling(\"name\", k), count(\"glob\"), sqrt(x), min(x, y) or max(x, y)",
                    quoted(name)
                ));
            }
        };
        Ok(Expression::Variable(variable))
    }

    fn integer(&mut self) -> Result<i64, String> {
        let negative = self.take('-');
        self.peek();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number: i64 = digits
            .parse()
            .map_err(|_| "a whole number is expected for the axis".to_owned())?;
        Ok(if negative { -number } else { number })
    }

    fn quoted(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let (text, rest) = self
            .rest
            .split_once('"')
            .ok_or_else(|| "a quote is not closed".to_owned())?;
        self.rest = rest;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> f64 {
        let known = |variable: &Variable| {
            Ok::<f64, String>(match variable {
                Variable::Layers => 12.0,
                Variable::Layer => 3.0,
                Variable::FanIn => 64.0,
                Variable::FanOut => 256.0,
                Variable::Rank => 2.0,
                Variable::Dim(axis) => 100.0 + *axis as f64,
                Variable::Size(glob, axis) => glob.len() as f64 * 10.0 + *axis as f64,
                Variable::Sibling(name, axis) => name.len() as f64 - *axis as f64,
                Variable::Count(glob) => glob.len() as f64,
            })
        };
        let expression = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        expression.value(&known).unwrap()
    }

    #[test]
    fn arithmetic() {
        for (text, expected) in [
            ("1", 1.0),
            (" 2 + 3 * 4 ", 14.0),
            ("(2+3)*4", 20.0),
            ("2-3-4", -5.0),
            ("64/4/2", 8.0),
            ("-2*-3", 6.0),
            ("--2", 2.0),
            ("1e-3*1E3", 1.0),
            (".5+2.", 2.5),
            ("sqrt(layers+4)", 4.0),
            ("0.02/sqrt(2*layers)", 0.02 / 24f64.sqrt()),
            ("0.02/sqrt(2*(layer+1))", 0.02 / 8f64.sqrt()),
            ("1/sqrt(fan_in)", 0.125),
            ("min(fan_in, fan_out)-max(1,rank)", 62.0),
            ("dim(-1)+dim(0)", 199.0),
            ("size(\"a.*, (b\", -1)", 69.0),
            ("sibling(\"weight\", 1)", 5.0),
            ("count(\"ab\")*2", 4.0),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_fault() {
        for (text, expected) in [
            ("", "expected at its end"),
            ("1+", "expected at its end"),
            ("(1", "')' is expected at its end"),
            ("1)", "')' is out of place"),
            ("2 3", "'3' is out of place"),
            ("width", "unknown name \"width\""),
            ("sqrt 2", "'(' is expected in place of '2'"),
            ("min(1)", "',' is expected in place of ')'"),
            ("dim(x)", "a whole number is expected"),
            ("size(a, 0)", "'\"' is expected in place of 'a'"),
            ("size(\"a, 0)", "a quote is not closed"),
            ("1.2.3", "\"1.2.3\" is not a decimal number"),
            ("2^3", "'^' is out of place"),
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for deep in [
            "(".repeat(100_000),
            "-".repeat(100_000),
            "sqrt(".repeat(100_000),
        ] {
            let error = Expression::parse(&deep).unwrap_err();
            assert!(error.contains("nested too deeply"), "{error}");
        }
    }

    proptest! {
        /// No text causes a panic.
        #[test]
        fn any_text_is_read_or_refused(text in "[-+*/().,=a-z0-9 \"]{0,60}") {
            let _ = Expression::parse(&text);
        }

        /// Products come before sums, and both group to the left.
        #[test]
        fn sums_of_products(numbers in proptest::collection::vec((1u32..100, 1u32..100), 1..8)) {
            let text: Vec<String> = numbers.iter().map(|(a, b)| format!("{a}*{b}")).collect();
            let exact: f64 = numbers.iter().map(|&(a, b)| f64::from(a) * f64::from(b)).sum();
            prop_assert_eq!(value(&text.join("+")), exact);
        }
    }
}
