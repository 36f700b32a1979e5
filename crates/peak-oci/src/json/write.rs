//! [`Json`] to compact text.

use std::fmt::{Formatter, Result, Write as _};

use super::Json;

pub(super) fn write(value: &Json, formatter: &mut Formatter<'_>) -> Result {
    match value {
        Json::Null => formatter.write_str("null"),
        Json::Bool(value) => write!(formatter, "{value}"),
        Json::Number(text) => formatter.write_str(text),
        Json::String(text) => write_string(text, formatter),
        Json::Array(elements) => {
            formatter.write_char('[')?;
            for (index, element) in elements.iter().enumerate() {
                write_separator(index, formatter)?;
                write(element, formatter)?;
            }
            formatter.write_char(']')
        }
        Json::Object(members) => {
            formatter.write_char('{')?;
            for (index, (key, member)) in members.iter().enumerate() {
                write_separator(index, formatter)?;
                write_string(key, formatter)?;
                formatter.write_char(':')?;
                write(member, formatter)?;
            }
            formatter.write_char('}')
        }
    }
}

fn write_separator(index: usize, formatter: &mut Formatter<'_>) -> Result {
    if index > 0 {
        formatter.write_char(',')
    } else {
        Ok(())
    }
}

fn write_string(text: &str, formatter: &mut Formatter<'_>) -> Result {
    formatter.write_char('"')?;
    let mut rest = text;
    while let Some(special) =
        rest.find(|character: char| matches!(character, '"' | '\\' | '\0'..='\u{1f}'))
    {
        let (plain, from_special) = rest.split_at(special);
        formatter.write_str(plain)?;
        let mut characters = from_special.chars();
        match characters.next() {
            Some('"') => formatter.write_str("\\\"")?,
            Some('\\') => formatter.write_str("\\\\")?,
            Some('\n') => formatter.write_str("\\n")?,
            Some('\r') => formatter.write_str("\\r")?,
            Some('\t') => formatter.write_str("\\t")?,
            Some(control) => write!(formatter, "\\u{:04x}", u32::from(control))?,
            None => {}
        }
        rest = characters.as_str();
    }
    formatter.write_str(rest)?;
    formatter.write_char('"')
}
