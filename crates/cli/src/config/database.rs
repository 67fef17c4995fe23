//! Which database, and how its URL is shown.

use super::server::is_loopback;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// A database URL. Display and Debug leave the password out.
#[derive(Clone)]
pub struct DatabaseUrl(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Postgres { url: SecretString, shown: String, warning: Option<&'static str> },
}

impl DatabaseUrl {
    /// Reads `sqlite:///path/file.db`, `postgres://…` or `postgresql://…`.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected sqlite:///path/file.db or postgres://user@host/database";
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.is_empty() || path.contains([':', '?', '#']) {
                return Err(format!(
                    "{EXPECTED}; the path has no `:`, `?` or `#`, and there is no database in memory"
                ));
            }
            return Ok(Self(Kind::Sqlite(PathBuf::from(path))));
        }
        let url = Url::parse(text).map_err(|_not_shown| EXPECTED.to_owned())?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(EXPECTED.to_owned());
        }
        if url.path().len() < 2 {
            return Err("names no database; expected postgres://user@host/database".to_owned());
        }
        let mut shown = url.clone();
        // The query may hold a password as well.
        shown.set_query(None);
        shown.set_fragment(None);
        if shown.password().is_some() {
            shown.set_password(None).map_err(|()| EXPECTED.to_owned())?;
        }
        let asked = |known: &[&str]| {
            let value = url.query_pairs().filter(|(name, _)| known.contains(&&**name)).last();
            value.map(|(_, value)| value.into_owned())
        };
        let mode = asked(&["sslmode", "ssl-mode"]).unwrap_or_default();
        // Without a host it is a socket of this machine; the query may name another than the URL does.
        let is_near = match asked(&["host", "hostaddr"]) {
            Some(host) => host.starts_with('/') || Host::parse(&host).is_ok_and(|host| is_loopback(&host)),
            None => url.host().is_none_or(|host| is_loopback(&host)),
        };
        let warning = match &*mode {
            _ if is_near => None,
            "verify-ca" | "verify-full" => None,
            "require" => Some(
                "the connection is encrypted, and whoever answers there is believed to be the database; use \
                 sslmode=verify-full, with sslrootcert if its authority is not one of the system's",
            ),
            _ => Some("the connection may travel unencrypted; add ?sslmode=verify-full to the URL"),
        };
        let url = SecretString::from(text);
        Ok(Self(Kind::Postgres { url, shown: shown.into(), warning }))
    }

    /// The embedded database of a data directory.
    pub fn embedded_in(data_dir: &Path) -> Self {
        Self(Kind::Sqlite(data_dir.join("agenstack.db")))
    }

    /// The file of an embedded database.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            Kind::Postgres { .. } => None,
        }
    }

    /// The whole URL, password included, for the one who connects.
    pub fn expose(&self) -> SecretString {
        match &self.0 {
            Kind::Sqlite(_) => SecretString::from(self.to_string()),
            Kind::Postgres { url, .. } => SecretString::from(url.expose_secret()),
        }
    }

    pub(super) fn warning(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Sqlite(_) => None,
            Kind::Postgres { warning, .. } => *warning,
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Kind::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_is_shown_without_its_password_and_handed_on_whole() {
        for (url, shown) in [
            (
                "postgres://ana:canary@db.example:5433/shop?password=canary",
                "postgres://ana@db.example:5433/shop",
            ),
            ("postgresql://127.0.0.1/shop", "postgresql://127.0.0.1/shop"),
            ("postgres:///shop?host=/run/canary", "postgres:///shop"),
            ("sqlite:///var/lib/agenstack/a.db", "sqlite:///var/lib/agenstack/a.db"),
            ("sqlite://data/a.db", "sqlite://data/a.db"),
        ] {
            let parsed = DatabaseUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(format!("{parsed:?}"), format!("DatabaseUrl({shown})"));
            assert_eq!(parsed.expose().expose_secret(), url);
        }
        assert_eq!(DatabaseUrl::parse("sqlite:///a/b.db").unwrap().sqlite_path(), Some(Path::new("/a/b.db")));
    }

    #[test]
    fn any_other_database_is_refused_without_repeating_it() {
        for bad in [
            "mysql://ana:canary@host/db",
            "canary",
            "sqlite://",
            "sqlite::memory:canary",
            "sqlite://:memory:canary",
            "sqlite:///canary.db?mode=memory",
            "postgres://ana:canary@host",
            "postgres://canary:x@ho st/db",
        ] {
            let error = DatabaseUrl::parse(bad).unwrap_err();
            assert!(error.contains("expected") && !error.contains("canary"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_distant_postgres_without_tls_deserves_a_warning() {
        let warned = |url| DatabaseUrl::parse(url).unwrap().warning().is_some();
        assert!(warned("postgres://db.example/shop") && warned("postgres://db.example/shop?sslmode=prefer"));
        assert!(!warned("postgres://db.example/shop?sslmode=verify-full"));
        assert!(!warned("postgres://127.0.0.1/shop") && !warned("postgres://localhost/shop"));
        assert!(!warned("postgres:///shop?host=/run/postgresql"));
        // The host may stand elsewhere, and a certificate that nobody checks is anybody's.
        assert!(warned("postgres:///shop?host=db.example") && !warned("postgres:///shop?host=127.0.0.1"));
        assert!(warned("postgres://db.example/shop?sslmode=require"));
        assert!(!warned("postgres://db.example/shop?sslmode=verify-ca&sslrootcert=/etc/ca.crt"));
    }
}
