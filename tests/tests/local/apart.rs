//! What each process of a deployment holds, and what it listens to: read from the kernel, not from what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Every file of the deployment's folders that holds a secret, with what is in it.
pub fn secrets(roots: &[&Path]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = roots.iter().map(|root| (*root).to_owned()).collect();
    // The servers' own folders hold copies of what is found elsewhere, and what KMS keeps; `public` is for everybody.
    let left_out = |path: &Path| {
        let is = |name: &str| roots.iter().any(|root| path == root.join(name));
        is("local/postgres") || is("public") || is("state") || is("s3")
    };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_secret = ["key", "environment"].contains(&name)
                || [".key", ".pem", ".password", ".superuser", ".aws"]
                    .iter()
                    .any(|ending| name.ends_with(ending));
            if path.is_dir() {
                if !left_out(&path) {
                    folders.push(path);
                }
            } else if is_secret && path.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                // Of AWS's credentials the id is no secret, and what stands around it is in every such file.
                let text = match text.to_lowercase().find("aws_secret_access_key") {
                    Some(at) => {
                        let line = text[at..].lines().next().unwrap();
                        line.rsplit(['=', ' ']).next().unwrap().to_owned()
                    }
                    None => text,
                };
                if !text.contains("BEGIN CERTIFICATE") {
                    found.insert(path, text);
                }
            }
        }
    }
    found
}

/// Whose it is, by where it lies: the process's name, without `-standby`.
pub fn owner(roots: &[&Path], secret: &Path) -> String {
    let mut roots = roots.iter();
    let path = roots.find_map(|root| secret.strip_prefix(root).ok());
    let path = path.unwrap().to_str().unwrap();
    let parts: Vec<&str> = path.split('/').collect();
    let stem = secret.file_stem().unwrap().to_str().unwrap();
    match parts[..] {
        ["cells", k, ..] => format!("cell-{k}"),
        ["registrars", r, ..] => format!("registrar-{r}"),
        ["witnesses", n, ..] => format!("witness-{n}"),
        ["heads", ..] => "anchor".to_owned(),
        ["local", "tls", "front-as-client.key"] => "front".to_owned(),
        // Of who made all of it, and no process's: the authority's keys, a Postgres's superuser, the certificates' authority.
        ["authority", ..] | ["local", "tls", "ca.key"] => "operator".to_owned(),
        // The same for the folder of the stand-in for AWS.
        ["environment"] | ["tls", "ca.key"] => "operator".to_owned(),
        ["local", file] if file.ends_with(".superuser") => "operator".to_owned(),
        // `postgres-cell-0.password` is what cell-0 gives.
        ["local", _] => stem.strip_prefix("postgres-").unwrap_or(stem).to_owned(),
        ["local", "tls", _] | ["tls", _] => stem.to_owned(),
        _ => panic!("whose is {path}?"),
    }
}

/// A process, as the kernel shows it.
pub struct Process {
    pub name: String,
    pid: u64,
    /// What it was told: its arguments, its environment, its configuration.
    told: String,
}

impl Process {
    /// Of a row of `local.py status`.
    pub fn of(data: &Path, row: &Value) -> Self {
        let name = row["name"].as_str().unwrap().to_owned();
        let pid = row["pid"].as_u64().unwrap();
        let mut told = String::new();
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            told.push_str(&String::from_utf8_lossy(&bytes).replace('\0', "\n"));
        }
        let configuration = match name.as_str() {
            "front" => Some(data.join("local/front/nginx.conf")),
            _ => row["config"].as_str().map(PathBuf::from),
        };
        if let Some(path) = configuration {
            told.push_str(&fs::read_to_string(path).unwrap());
        }
        Self { name, pid, told }
    }

    /// The secrets that it was told of, by path or by content, or has open.
    pub fn holds<'s>(&self, secrets: &'s BTreeMap<PathBuf, String>) -> BTreeSet<&'s Path> {
        let open: Vec<PathBuf> = self.open().collect();
        let is_held = |path: &Path, content: &str| {
            let named = format!("{}\"", path.display());
            let argument = format!("{}\n", path.display());
            let directive = format!("{};", path.display());
            open.iter().any(|open| open == path)
                || [named, argument, directive]
                    .iter()
                    .any(|named| self.told.contains(named))
                || self.told.contains(content.trim_end())
        };
        secrets
            .iter()
            .filter(|(path, content)| is_held(path, content))
            .map(|(path, _)| path.as_path())
            .collect()
    }

    fn open(&self) -> impl Iterator<Item = PathBuf> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        // What was closed meanwhile is open no more.
        open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
    }

    /// The ports that it listens to.
    pub fn ports(&self) -> BTreeSet<u16> {
        let open: BTreeSet<String> = self
            .open()
            .filter_map(|link| {
                let link = link.to_str()?.strip_prefix("socket:[")?.to_owned();
                Some(link.strip_suffix(']')?.to_owned())
            })
            .collect();
        let mut ports = BTreeSet::new();
        for table in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/{}/net/{table}", self.pid));
            for line in table.unwrap_or_default().lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // 0A: it listens.
                if fields[3] == "0A" && open.contains(fields[9]) {
                    let (_, port) = fields[1].rsplit_once(':').unwrap();
                    ports.insert(u16::from_str_radix(port, 16).unwrap());
                }
            }
        }
        ports
    }
}
