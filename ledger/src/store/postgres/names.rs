//! What a `synchronous_standby_names` demands: Postgres's own grammar (`syncrep_scanner.l`), read strictly.

/// What a commit waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// So many of the named standbys must confirm. (`FIRST` takes those first in the list that are connected, `ANY` whichever are fastest: both wait for this many.)
    pub(super) count: usize,
    /// The names, in lower case: the server compares them so. Each once.
    pub(super) names: Vec<String>,
}

/// Reads the setting. `None`: it is empty, demands nothing, or is of a form that this program does not know.
pub(super) fn parse(setting: &str) -> Option<Demand> {
    let tokens = tokens(setting)?;
    let (count, list) = match tokens.as_slice() {
        [
            Token::Word(method),
            Token::Number(count),
            Token::Open,
            list @ ..,
            Token::Close,
        ] if is(method, "ANY") || is(method, "FIRST") => (*count, list),
        [Token::Number(count), Token::Open, list @ .., Token::Close] => (*count, list),
        // The oldest form: the first of the list that is connected.
        list => (1, list),
    };
    let mut names = Vec::new();
    for (at, token) in list.iter().enumerate() {
        match (at % 2, token) {
            (0, Token::Word(name) | Token::Quoted(name)) => names.push(name.to_ascii_lowercase()),
            (0, Token::Number(name)) => names.push(name.to_string()),
            (1, Token::Comma) => {}
            _ => return None,
        }
    }
    // A list ends in a name.
    if list.len() % 2 == 0 || count == 0 {
        return None;
    }
    names.sort();
    names.dedup();
    Some(Demand { count, names })
}

/// The name that stands for any standby whatever; also when it is quoted.
pub(super) const ANYBODY: &str = "*";

enum Token {
    Word(String),
    Quoted(String),
    Number(usize),
    Open,
    Close,
    Comma,
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

fn tokens(setting: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = setting.chars().peekable();
    while let Some(next) = rest.next() {
        tokens.push(match next {
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '*' => Token::Word(ANYBODY.to_owned()),
            '"' => {
                let mut name = String::new();
                loop {
                    match rest.next()? {
                        '"' if rest.peek() == Some(&'"') => {
                            rest.next();
                            name.push('"');
                        }
                        '"' => break,
                        other => name.push(other),
                    }
                }
                Token::Quoted(name)
            }
            first if first.is_ascii_digit() => {
                let mut number = String::from(first);
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                Token::Number(number.parse().ok()?)
            }
            first if starts_name(first) => {
                let mut name = String::from(first);
                while let Some(other) =
                    rest.next_if(|c| starts_name(*c) || c.is_ascii_digit() || *c == '$')
                {
                    name.push(other);
                }
                Token::Word(name)
            }
            _ => return None,
        });
    }
    Some(tokens)
}

fn starts_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(setting: &str) -> Option<(usize, String)> {
        parse(setting).map(|demand| (demand.count, demand.names.join(" ")))
    }

    #[test]
    fn every_form_of_the_setting_is_read() {
        for (setting, count, names) in [
            ("sb", 1, "sb"),
            ("b, a", 1, "a b"),
            ("2 (a, b, c)", 2, "a b c"),
            ("FIRST 2 (a,b)", 2, "a b"),
            ("first 1(a)", 1, "a"),
            ("ANY 2 (\"North-1\", b$2, Süd)", 2, "b$2 north-1 süd"),
            ("Any 1 (A, a)", 1, "a"),
            ("any", 1, "any"),
            ("*", 1, "*"),
            ("ANY 1 (a, \"*\")", 1, "* a"),
            ("\"a\"\"b\"", 1, "a\"b"),
            ("1 (7)", 1, "7"),
        ] {
            assert_eq!(
                demand(setting),
                Some((count, names.to_owned())),
                "{setting}"
            );
        }
    }

    #[test]
    fn what_demands_nothing_or_is_no_setting_is_none() {
        for setting in [
            "",
            "  ",
            "0 (a)",
            "ANY 0 (a)",
            "ANY 1 ()",
            "a b",
            "a,",
            ",a",
            "2 a",
            "ANY (a)",
            "ANY 1 (a",
            "(a)",
            "\"a",
            "ANY 1 (a) b",
            "ANY 99999999999999999999999 (a)",
            "a;b",
            "-1 (a)",
        ] {
            assert_eq!(demand(setting), None, "{setting}");
        }
    }
}
