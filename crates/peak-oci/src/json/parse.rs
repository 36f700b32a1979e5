//! Text to [`Json`] (RFC 8259), bounded and without second chances.

use super::{Json, JsonError, MAX_DEPTH, MAX_VALUES};
use crate::text::Excerpt;

/// Parses one document. The caller has bounded its size.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(bytes, error.valid_up_to());
        JsonError::at_position(line, column, "the text is not UTF-8")
    })?;
    let mut parser = Parser {
        text,
        offset: 0,
        values: 0,
    };
    parser.skip_whitespace();
    let value = parser.value(0)?;
    parser.skip_whitespace();
    if parser.peek().is_some() {
        return Err(parser.unexpected("nothing after the document"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) -> usize {
        let count = self.rest().bytes().take_while(|byte| accept(*byte)).count();
        self.offset += count;
        count
    }

    fn skip_whitespace(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.offset += 1;
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{}`", char::from(byte))))
        }
    }

    fn error_at(&self, offset: usize, reason: impl Into<String>) -> JsonError {
        let (line, column) = position(self.text.as_bytes(), offset);
        JsonError::at_position(line, column, reason)
    }

    fn unexpected(&self, expected: &str) -> JsonError {
        let found = match self.rest().chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end".to_owned(),
        };
        self.error_at(self.offset, format!("expected {expected}, found {found}"))
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.error_at(
                self.offset,
                format!("the document has more than {MAX_VALUES} values"),
            ));
        }
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        if depth < MAX_DEPTH {
            Ok(depth + 1)
        } else {
            Err(self.error_at(
                self.offset,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ))
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if self.rest().starts_with(word) {
            self.offset += word.len();
            Ok(value)
        } else {
            Err(self.unexpected("a value"))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.expect(b'[')?;
        let mut elements = Vec::new();
        self.skip_whitespace();
        if self.eat(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            self.skip_whitespace();
            elements.push(self.value(depth)?);
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(Json::Array(elements));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.expect(b'{')?;
        let mut members = Vec::new();
        let mut offsets = Vec::new();
        self.skip_whitespace();
        if self.eat(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_whitespace();
            offsets.push(self.offset);
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key = self.string()?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            let value = self.value(depth)?;
            members.push((key, value));
            self.skip_whitespace();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
        self.refuse_duplicates(&members, &offsets)?;
        Ok(Json::Object(members))
    }

    fn refuse_duplicates(
        &self,
        members: &[(String, Json)],
        offsets: &[usize],
    ) -> Result<(), JsonError> {
        let mut keys: Vec<(&str, usize)> = members
            .iter()
            .zip(offsets)
            .map(|((key, _), offset)| (key.as_str(), *offset))
            .collect();
        keys.sort_unstable();
        let second = keys.windows(2).find_map(|pair| match pair {
            [(first, _), (second, offset)] if first == second => Some((*second, *offset)),
            _ => None,
        });
        match second {
            Some((key, offset)) => {
                Err(self.error_at(offset, format!("the key {} is there twice", Excerpt(key))))
            }
            None => Ok(()),
        }
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.offset;
        let is_digit = |byte: u8| byte.is_ascii_digit();
        self.eat(b'-');
        if !self.eat(b'0') && self.skip_while(is_digit) == 0 {
            return Err(self.unexpected("a digit"));
        }
        if self.eat(b'.') && self.skip_while(is_digit) == 0 {
            return Err(self.unexpected("a digit"));
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            if self.skip_while(is_digit) == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        Ok(Json::Number(
            self.text.get(start..self.offset).unwrap_or_default().into(),
        ))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let start = self.offset;
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let plain = self.offset;
            self.skip_while(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20);
            text.push_str(self.text.get(plain..self.offset).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.offset += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => {
                    return Err(
                        self.error_at(self.offset, "a control character stands in a string")
                    );
                }
                None => return Err(self.error_at(start, "the string has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.offset;
        self.offset += 1;
        let letter = self.peek();
        self.offset += 1;
        match letter {
            Some(letter @ (b'"' | b'\\' | b'/')) => Ok(char::from(letter)),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.unicode_escape(start),
            _ => Err(self.error_at(start, "this escape is not known")),
        }
    }

    fn unicode_escape(&mut self, start: usize) -> Result<char, JsonError> {
        let first = self.four_digits(start)?;
        let code = if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.offset += 2;
            let second = self.four_digits(start)?;
            // A second half outside its range leaves `code` in the range of halves, which is no character.
            match second.checked_sub(0xdc00) {
                Some(low) if low < 0x400 => 0x1_0000 + ((first - 0xd800) << 10) + low,
                _ => first,
            }
        } else {
            first
        };
        char::from_u32(code)
            .ok_or_else(|| self.error_at(start, "half of a surrogate pair stands alone"))
    }

    fn four_digits(&mut self, start: usize) -> Result<u32, JsonError> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.offset += 4;
        code.ok_or_else(|| self.error_at(start, "an escape `\\u` needs four hexadecimal digits"))
    }
}

/// Line and column of a byte, both from 1.
fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let column = lines.next().map_or(0, <[u8]>::len) + 1;
    (lines.count() + 1, column)
}
