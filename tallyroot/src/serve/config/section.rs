//! Reading a configuration strictly: each key is asked for once, with its type; what nobody asked for is refused.
//!
//! The environment goes before the file: `TALLYROOT_<SECTION>_<KEY>`, such as `TALLYROOT_DATABASE_URL` for `url` in `[database]`,
//! `TALLYROOT_LISTEN` for a key outside of sections, `TALLYROOT_SHARDS_0_MAIN` for the first of several `[[shards]]`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// What every variable of ours begins with.
pub const PREFIX: &str = "TALLYROOT_";
/// Variables of this prefix that are no configuration: the tests' own.
const FOREIGN_PREFIX: &str = "TALLYROOT_TEST_";
/// Every key of every role, whichever section it stands in.
const KEYS: &[&str] = &[
    "algorithms",
    "allow_http_loopback",
    "anchors",
    "audience",
    "aws",
    "bucket",
    "cell",
    "certificate",
    "claim",
    "client_id",
    "clients",
    "clock_leeway_s",
    "code_key",
    "database",
    "directory",
    "durability",
    "election",
    "endpoint",
    "health_listen",
    "issuer",
    "key",
    "kms",
    "listen",
    "main",
    "manifest",
    "max_age_s",
    "monitoring",
    "name",
    "oidc",
    "password_file",
    "prefix",
    "published",
    "region",
    "registrar",
    "roll_backup",
    "rsa_key",
    "schema",
    "scope",
    "self_signed",
    "serve",
    "shards",
    "sign_in_at",
    "spare",
    "sqlite",
    "tls",
    "unfinished",
    "url",
    "witnesses",
    "wrapped",
];
/// A configuration larger than this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with a configuration: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// File and key, or variable.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A configuration file and the environment over it.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    folder: PathBuf,
    table: Table,
    environment: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

/// A table of the file: the whole of it, or `[database]`, or one of the `[[shards]]`.
#[derive(Debug)]
pub(super) struct Section<'a> {
    document: &'a Document,
    path: Vec<String>,
    table: Option<&'a Table>,
    asked: RefCell<BTreeSet<String>>,
}

/// A value, and where it was given.
struct Given {
    value: Value,
    place: String,
    /// From the environment, where everything is text.
    is_text: bool,
}

impl Document {
    /// Reads the file; `environment` are all variables of the process.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not TOML.
    pub(super) fn read(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let error = |message: String| ConfigError {
            place: file.display().to_string(),
            message,
        };
        let len = std::fs::metadata(file)
            .map_err(|cause| {
                error(format!(
                    "the configuration cannot be read ({cause}): check the path after --config"
                ))
            })?
            .len();
        if len > FILE_BYTES_MAX {
            return Err(error(format!(
                "it has {len} bytes, and a configuration has at most {FILE_BYTES_MAX}: check the path after --config"
            )));
        }
        let text = std::fs::read_to_string(file).map_err(|cause| {
            error(format!(
                "the configuration cannot be read ({cause}): it must be UTF-8 text"
            ))
        })?;
        // The line itself is not shown: it may hold a password.
        let table = text.parse::<Table>().map_err(|cause| {
            let before = cause.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
            error(format!("it is not TOML: line {line}: {}", cause.message()))
        })?;
        Ok(Self {
            file: file.to_owned(),
            folder: match file.parent() {
                Some(folder) if folder != Path::new("") => folder.to_owned(),
                _ => PathBuf::from("."),
            },
            table,
            environment: environment
                .filter(|(name, _)| name.starts_with(PREFIX) && !name.starts_with(FOREIGN_PREFIX))
                .collect(),
            asked: RefCell::default(),
        })
    }

    /// The keys outside of sections.
    #[must_use]
    pub(super) fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: Vec::new(),
            table: Some(&self.table),
            asked: RefCell::default(),
        }
    }

    /// Whether this key, outside of sections, or this section is given.
    #[must_use]
    pub(super) fn names(&self, key: &str) -> bool {
        let variable = format!("{PREFIX}{}", key.to_uppercase());
        self.table.contains_key(key) || self.environment.contains_key(&variable)
    }

    /// Whether `serve` stands in [published], which the tally service alone has.
    #[must_use]
    pub(super) fn serves_files(&self) -> bool {
        let published = self.table.get("published").and_then(Value::as_table);
        published.is_some_and(|published| published.contains_key("serve"))
    }

    /// The keys that no role has, each with the one that may be meant: in words, for an error that such a key may have led to. Empty where there are none.
    #[must_use]
    pub(super) fn misspelt(&self) -> String {
        let mut found = Vec::new();
        unknown(&self.table, "", &mut found);
        let Some(first) = found.first() else {
            return String::new();
        };
        let more = match found.len() {
            1 => String::new(),
            n => format!(", and {} more like it", n - 1),
        };
        format!("; but the file has {first}, which is no key{more}: correct that first")
    }

    /// Refuses variables that no key has: a misspelt one would silently change nothing.
    ///
    /// # Errors
    /// There is one.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        let asked = self.asked.borrow();
        match self.environment.keys().find(|name| !asked.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(ConfigError {
                place: name.clone(),
                message: format!(
                    "no key of this role has this variable{}: unset or correct it (where Kubernetes sets it for a service of that name, set enableServiceLinks: false)",
                    nearest(name, asked.iter().map(String::as_str))
                ),
            }),
        }
    }
}

/// Whether a text that should be a path is what a key's file holds: 64 hexadecimal digits, PEM, or another text of several lines.
fn is_a_secret(text: &str) -> bool {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex || text.contains("-----BEGIN") || text.contains('\n')
}

impl<'a> Section<'a> {
    /// The key's full name, as in `database.url` or `shards[0].main`.
    fn name(&self, key: &str) -> String {
        let mut name = String::new();
        for part in self.path.iter().map(String::as_str).chain([key]) {
            if part.parse::<usize>().is_ok() {
                name.push_str(&format!("[{part}]"));
            } else {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(part);
            }
        }
        name
    }

    fn variable(&self, key: &str) -> String {
        let parts: Vec<String> = self
            .path
            .iter()
            .map(String::as_str)
            .chain([key])
            .map(str::to_uppercase)
            .collect();
        format!("{PREFIX}{}", parts.join("_"))
    }

    /// An error at one of the section's keys.
    #[must_use]
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let variable = self.variable(key);
        ConfigError {
            place: if self.document.environment.contains_key(&variable) {
                variable
            } else {
                format!("{}: {}", self.document.file.display(), self.name(key))
            },
            message: message.into(),
        }
    }

    fn given(&self, key: &str) -> Option<Given> {
        debug_assert!(KEYS.contains(&key), "add `{key}` to KEYS");
        let variable = self.variable(key);
        self.asked.borrow_mut().insert(key.to_owned());
        self.document.asked.borrow_mut().insert(variable.clone());
        if let Some(text) = self.document.environment.get(&variable) {
            return Some(Given {
                value: Value::String(text.clone()),
                place: variable,
                is_text: true,
            });
        }
        let value = self.table?.get(key)?.clone();
        Some(Given {
            value,
            place: format!("{}: {}", self.document.file.display(), self.name(key)),
            is_text: false,
        })
    }

    fn missing(&self, key: &str, what: &str) -> ConfigError {
        self.error(
            key,
            format!("it is missing: give {what} (or set {})", self.variable(key)),
        )
    }

    /// Whether it is given at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given(key).is_some()
    }

    /// A text that need not be there.
    ///
    /// # Errors
    /// It is of another type, or empty.
    pub(super) fn text_if_any(&self, key: &str, what: &str) -> Result<Option<String>, ConfigError> {
        let Some(given) = self.given(key) else {
            return Ok(None);
        };
        match given.value {
            Value::String(text) if !text.is_empty() => Ok(Some(text)),
            other => Err(wrong(given.place, &other, what)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// It is missing, empty, or of another type.
    pub(super) fn text(&self, key: &str, what: &str) -> Result<String, ConfigError> {
        self.text_if_any(key, what)?
            .ok_or_else(|| self.missing(key, what))
    }

    /// A path; a relative one is taken from the folder of the file.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub(super) fn path(&self, key: &str, what: &str) -> Result<PathBuf, ConfigError> {
        self.path_if_any(key, what)?
            .ok_or_else(|| self.missing(key, what))
    }

    /// A path that stands within a value; a relative one is taken from the folder of the file.
    #[must_use]
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.document.folder.join(path)
    }

    /// A path that need not be there.
    ///
    /// # Errors
    /// As [`Section::text_if_any`].
    pub(super) fn path_if_any(
        &self,
        key: &str,
        what: &str,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(text) = self.text_if_any(key, what)? else {
            return Ok(None);
        };
        // It is not shown: logs are read by others.
        if is_a_secret(&text) {
            return Err(self.error(
                key,
                format!("it holds a key, and not the path of its file: put the key into a file that its owner alone may read, and give {what}. Whoever can read this configuration has had the key: make a new one"),
            ));
        }
        Ok(Some(self.document.folder.join(text)))
    }

    /// A number of at least 0.
    ///
    /// # Errors
    /// It is missing, or no such number.
    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str, what: &str) -> Result<T, ConfigError> {
        let given = self.given(key).ok_or_else(|| self.missing(key, what))?;
        let number = match &given.value {
            Value::Integer(number) => Some(*number),
            Value::String(text) if given.is_text => text.parse().ok(),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| wrong(given.place, &given.value, what))
    }

    /// Yes or no; no where nothing is given.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        let Some(given) = self.given(key) else {
            return Ok(false);
        };
        match &given.value {
            Value::Boolean(flag) => Ok(*flag),
            Value::String(text) if given.is_text && text == "true" => Ok(true),
            Value::String(text) if given.is_text && text == "false" => Ok(false),
            other => Err(wrong(given.place, other, "true or false")),
        }
    }

    /// An address to listen at. A port alone is one of 127.0.0.1.
    ///
    /// # Errors
    /// It is missing, or no address.
    pub(super) fn address(&self, key: &str, what: &str) -> Result<SocketAddr, ConfigError> {
        let given = self.given(key).ok_or_else(|| self.missing(key, what))?;
        let local = |port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let address = match &given.value {
            Value::Integer(port) => u16::try_from(*port).ok().map(local),
            Value::String(text) => text
                .parse()
                .ok()
                .or_else(|| text.parse::<u16>().ok().map(local)),
            _ => None,
        };
        address.ok_or_else(|| wrong(given.place, &given.value, what))
    }

    /// A value of any shape, as from `NAME = VALUE` in TOML; a variable's text is read as TOML where it is any.
    #[must_use]
    pub(super) fn any(&self, key: &str) -> Option<Value> {
        let given = self.given(key)?;
        match &given.value {
            Value::String(text) if given.is_text => {
                let table = format!("value = {text}").parse::<Table>().ok();
                let read = table.and_then(|mut table| table.remove("value"));
                Some(read.unwrap_or(given.value))
            }
            _ => Some(given.value),
        }
    }

    /// A section within this one. One that the file does not hold is empty: the environment may fill it.
    ///
    /// # Errors
    /// The key is there, and is no section.
    pub(super) fn section(&self, key: &str) -> Result<Section<'a>, ConfigError> {
        self.asked.borrow_mut().insert(key.to_owned());
        let table = match self.table.and_then(|table| table.get(key)) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                return Err(wrong(
                    format!("{}: {}", self.document.file.display(), self.name(key)),
                    other,
                    &format!("a section: [{}]", self.name(key)),
                ));
            }
        };
        Ok(self.within(&[key], table))
    }

    /// The sections of an array, `[[shards]]`.
    ///
    /// # Errors
    /// The key is there, and is no array of sections.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Section<'a>>, ConfigError> {
        self.asked.borrow_mut().insert(key.to_owned());
        let wanted = format!("one section for each: [[{}]]", self.name(key));
        let place = || format!("{}: {}", self.document.file.display(), self.name(key));
        match self.table.and_then(|table| table.get(key)) {
            None => Ok(Vec::new()),
            Some(Value::Array(array)) => array
                .iter()
                .enumerate()
                .map(|(n, value)| match value {
                    Value::Table(table) => Ok(self.within(&[key, &n.to_string()], Some(table))),
                    other => Err(wrong(place(), other, &wanted)),
                })
                .collect(),
            Some(other) => Err(wrong(place(), other, &wanted)),
        }
    }

    fn within(&self, keys: &[&str], table: Option<&'a Table>) -> Section<'a> {
        let keys = keys.iter().map(|key| (*key).to_owned());
        Section {
            document: self.document,
            path: self.path.iter().cloned().chain(keys).collect(),
            table,
            asked: RefCell::default(),
        }
    }

    /// Refuses keys that nobody asked for.
    ///
    /// # Errors
    /// There is one; the error names the nearest that is known.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        let asked = self.asked.borrow();
        let mut keys = self.table.into_iter().flat_map(Table::keys);
        match keys.find(|key| !asked.contains(*key)) {
            None => Ok(()),
            Some(key) => Err(ConfigError {
                place: format!("{}: {}", self.document.file.display(), self.name(key)),
                message: format!(
                    "this role has no such key here{}: correct or remove it",
                    nearest(key, asked.iter().map(String::as_str))
                ),
            }),
        }
    }
}

/// What is given is not what is wanted. Values of configurations are no secrets: those are in files of their own.
fn wrong(place: String, value: &Value, what: &str) -> ConfigError {
    let value = match value {
        Value::Table(_) => "a section".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        value => value.to_string(),
    };
    ConfigError {
        place,
        message: format!("it is {value}: give {what}"),
    }
}

/// The full names of keys that no role has, in a table and those within it. What an inline table of a value holds is judged where that value is.
fn unknown(table: &Table, within: &str, found: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{within}{key}");
        if !KEYS.contains(&key.as_str()) {
            let meant = nearest(key, KEYS.iter().copied());
            found.push(format!("`{name}`{meant}"));
            continue;
        }
        match value {
            _ if key == "durability" => {}
            Value::Table(table) => unknown(table, &format!("{name}."), found),
            Value::Array(array) => {
                for (n, value) in array.iter().enumerate() {
                    if let Value::Table(table) = value {
                        unknown(table, &format!("{name}[{n}]."), found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// `; the nearest known is …`, where one is near enough to be meant.
fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> String {
    known
        .map(|key| (distance(given, key), key))
        .min()
        .filter(|(distance, key)| *distance <= key.len().max(given.len()) / 2)
        .map(|(_, key)| format!(" (did you mean `{key}`?)"))
        .unwrap_or_default()
}

/// Levenshtein's: how many characters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (to, above) in b.iter().zip(row.windows(2)) {
            let [diagonal, up] = above else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push(
                (diagonal + usize::from(from != *to))
                    .min(up + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
