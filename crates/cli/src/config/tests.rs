use super::*;
use agenstack_core::entropy::SeededEntropy;
use agenstack_vault::MasterKey;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::time::Duration;

const CANARY: &str = "canary-7f3a";

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn environment<const N: usize>(pairs: [(&str, &str); N]) -> Result<Config, ConfigError> {
    Config::load(&Sources::from_environment(map(pairs)))
}

fn file(text: &str) -> Result<Config, ConfigError> {
    let mut sources = Sources::from_environment(BTreeMap::new());
    sources.add_file("agenstack.toml", text)?;
    Config::load(&sources)
}

/// The problems, one a line; none may show the value that caused it.
fn refused(found: Result<Config, ConfigError>) -> String {
    let error = found.expect_err("something is wrong with it");
    let shown = error.to_string();
    assert!(!format!("{shown} {error:?}").contains("canary"), "{shown}");
    shown
}

fn key(seed: u64) -> String {
    MasterKey::generate(&SeededEntropy::new(seed)).expose_secret().to_owned()
}

#[test]
fn without_anything_set_the_documented_defaults_hold() {
    let config = environment([]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:8080");
    assert!(!config.server.public_url_given && !config.server.public_url.is_https());
    assert_eq!(config.server.metrics_listen, None);
    assert!(config.server.trusted_proxies.is_empty());
    assert_eq!((config.server.workers, config.server.shutdown), (16, Duration::from_secs(20)));
    assert_eq!(config.storage.database.to_string(), "sqlite://./data/agenstack.db");
    assert_eq!(config.log, Log { format: LogFormat::Text, level: "info".into() });
    assert!(config.mail.smtp_url.is_none() && config.mail.from.is_none());
    assert!(config.shopify.app.is_none() && config.messenger.app.is_none() && config.kustomer.app.is_none());
    assert_eq!(
        config.shopify.scopes,
        ["read_orders", "read_products", "read_customers", "read_fulfillments"]
    );
    let urls = [
        &config.shopify.url,
        &config.messenger.facebook_url,
        &config.messenger.graph_url,
        &config.kustomer.url,
        &config.kustomer.api_url,
    ];
    assert_eq!(
        urls.map(ProviderUrl::as_str),
        [
            "https://{shop}",
            "https://www.facebook.com",
            "https://graph.facebook.com",
            "https://{org}.kustomerapp.com",
            "https://{org}.api.kustomerapp.com",
        ]
    );
    assert!(config.warnings.is_empty());
    let missing = config.keys.vault().unwrap_err().to_string();
    assert!(missing.starts_with("AGENSTACK_MASTER_KEY: ") && missing.contains("agenstack keys generate"));
}

#[test]
fn the_environment_wins_over_the_env_file_and_that_over_the_config_file() {
    let mut sources = Sources::from_environment(map([("AGENSTACK_WORKERS", "1"), ("AGENSTACK_LOG", "")]));
    sources.add_env_file(".env", "AGENSTACK_WORKERS=2\nAGENSTACK_LOG=json\nAGENSTACK_SHUTDOWN_SECS=2\n");
    let text = "[server]\nworkers = 3\nshutdown_secs = 3\nlisten = '127.0.0.1:3000'\n[log]\nformat = 'text'";
    sources.add_file("agenstack.toml", text).unwrap();
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.server.workers, 1);
    assert_eq!(config.log.format, LogFormat::Json, "an empty variable is not set");
    assert_eq!(config.server.shutdown, Duration::from_secs(2));
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:3000", "follows listen");
}

#[test]
fn every_setting_can_be_given_in_the_file() {
    let (current, previous) = (key(1), key(2));
    let config = file(&format!(
        "[server]\nlisten = '0.0.0.0:80'\npublic_url = 'https://chat.example.com/'\nmetrics_listen = '[::1]:9090'\n\
         trusted_proxies = ['10.0.0.5', '192.168.0.0/24']\nworkers = 8\nshutdown_secs = 5\n\
         [storage]\ndata_dir = '/var/lib/agenstack'\ndatabase_url = 'postgres://a:b@localhost/c'\n\
         [vault]\nmaster_key = '{current}'\nmaster_key_previous = '{previous}'\n\
         [mail]\nsmtp_url = 'smtps://a:b@mail.example.com'\nfrom = 'Shop chat <chat@example.com>'\n\
         [log]\nformat = 'json'\nlevel = 'info,agenstack_app=debug'\n\
         [shopify]\napi_key = 'k'\napi_secret = 's'\napi_secret_previous = 'p'\nscopes = ['read_orders']\n\
         url = 'http://127.0.0.1:9900/shopify/{{shop}}/'\n\
         [messenger]\napp_id = '1'\napp_secret = 's'\nverify_token = 'v'\nfacebook_url = 'http://localhost:1'\n\
         graph_url = 'http://[::1]:1'\n\
         [kustomer]\nclient_id = 'i'\nclient_secret = 's'\nurl = 'http://{{org}}.localhost:1'\n\
         api_url = 'https://{{org}}.api.example.com'\n"
    ))
    .unwrap();
    assert_eq!(config.server.public_url.as_str(), "https://chat.example.com");
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.server.trusted_proxies[0].to_string(), "10.0.0.5/32");
    assert_eq!(config.keys.vault().unwrap().current_key_id().len(), 19);
    let app = config.shopify.app.unwrap();
    assert_eq!((app.api_key.as_str(), app.api_secret.expose_secret()), ("k", "s"));
    assert_eq!(app.api_secret_previous.unwrap().expose_secret(), "p");
    assert_eq!(config.shopify.scopes, ["read_orders"]);
    assert_eq!(config.shopify.url.as_str(), "http://127.0.0.1:9900/shopify/{shop}");
    assert_eq!(config.messenger.app.unwrap().verify_token.expose_secret(), "v");
    assert_eq!(config.kustomer.app.unwrap().client_id, "i");
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    for (text, expected) in [
        ("[server]\nlistne = 'canary'", "server.listne (agenstack.toml): unknown key"),
        (
            "[sever]\nlisten = 'canary'",
            "sever.listen (agenstack.toml): unknown key; did you mean `listen` under [server]",
        ),
        ("listen = 'canary'", "listen (agenstack.toml): unknown key; did you mean `listen` under [server]"),
        ("SHOPIFY_API_KEY = 'canary'", "did you mean `api_key` under [shopify]"),
        ("server = 'canary'", "server (agenstack.toml): unknown key"),
        ("[nothing]", "nothing (agenstack.toml): unknown key"),
        ("[server.listen]\nhost = 'canary'", "server.listen.host (agenstack.toml): unknown key"),
        ("[server]\nlisten_file = 'canary'", "server.listen_file (agenstack.toml): unknown key"),
        ("[server]\nlisten = 2026-11-24", "server.listen (agenstack.toml): expected a text"),
    ] {
        let shown = refused(file(text));
        assert!(shown.contains(expected), "{text}: {shown}");
    }
    assert!(file("[server]\n[log]\n").is_ok());
}

#[test]
fn a_broken_file_is_named_by_place_and_not_shown() {
    for text in [
        "[shopify]\napi_secret = canary",
        "[shopify]\napi_secret = 'canary",
        "[log]\nformat = 'canary' canary",
    ] {
        let shown = refused(file(text));
        assert!(
            shown.starts_with("line 2, column ") && shown.contains("(agenstack.toml): not valid TOML"),
            "{shown}"
        );
    }
    assert!(refused(file("[log]\nlevel = 'info'\nlevel = 'canary'")).contains("not valid TOML"));
}

#[test]
fn each_wrong_value_is_named_with_what_would_be_right_and_never_repeated() {
    let bad = [
        ("AGENSTACK_LISTEN", "canary:8080", "127.0.0.1:8080"),
        ("AGENSTACK_PUBLIC_URL", "http://canary.example.com", "must be https"),
        ("AGENSTACK_PUBLIC_URL", "https://canary.example.com/path", "must end after the host"),
        ("AGENSTACK_PUBLIC_URL", "https://example.com?canary", "must end after the host"),
        ("AGENSTACK_PUBLIC_URL", "https://canary@example.com", "must end after the host"),
        ("AGENSTACK_PUBLIC_URL", "ftp://canary", "must begin with https"),
        ("AGENSTACK_PUBLIC_URL", "canary", "expected a URL"),
        ("AGENSTACK_METRICS_LISTEN", "canary", "expected an IP address"),
        ("AGENSTACK_METRICS_LISTEN", "127.0.0.1:8080", "metrics need their own"),
        ("AGENSTACK_TRUSTED_PROXIES", "10.0.0.1,canary", "expected a list"),
        ("AGENSTACK_TRUSTED_PROXIES", "0.0.0.0/0", "trusts everyone"),
        ("AGENSTACK_WORKERS", "0", "from 1 to 256"),
        ("AGENSTACK_SHUTDOWN_SECS", "canary", "from 0 to 3600"),
        ("AGENSTACK_DATABASE_URL", "mysql://a:canary@b/c", "sqlite:///path"),
        ("AGENSTACK_MASTER_KEY", "canary", "agenstack keys generate"),
        ("AGENSTACK_SMTP_URL", "smtp://a:canary@mail.example.com", "tls=required"),
        ("AGENSTACK_SMTP_URL", "http://canary", "expected smtps://"),
        ("AGENSTACK_MAIL_FROM", "canary", "expected ana@example.com"),
        ("AGENSTACK_MAIL_FROM", "Canary <canary", "expected ana@example.com"),
        ("AGENSTACK_LOG", "canary", "`text` or `json`"),
        ("AGENSTACK_LOG_LEVEL", "canary", "expected error, warn"),
        ("SHOPIFY_SCOPES", "read_orders canary", "expected a list"),
        ("SHOPIFY_URL", "https://canary.myshopify.com", "must contain {shop}"),
        ("SHOPIFY_URL", "http://{shop}", "must be https"),
        ("SHOPIFY_URL", "https://{shop}@canary.example", "must not have a user"),
        ("SHOPIFY_URL", "https://{shop}.{canary}", "unknown placeholder"),
        ("FACEBOOK_URL", "http://canary.example", "must be https"),
        ("GRAPH_URL", "https://{canary}.example", "unknown placeholder"),
        ("KUSTOMER_URL", "https://canary.kustomerapp.com", "must contain {org}"),
        ("KUSTOMER_API_URL", "https://{org}.example/?canary", "a query"),
    ];
    for (name, value, expected) in bad {
        let shown = refused(environment([(name, value)]));
        assert!(shown.contains(&format!("{name} (environment): ")), "{name}: {shown}");
        assert!(shown.contains(expected), "{name}: {shown}");
    }
    // All at once, not one at each start.
    let shown = refused(environment([("AGENSTACK_LOG", CANARY), ("AGENSTACK_LISTEN", CANARY)]));
    assert_eq!(shown.lines().count(), 2);
}

#[test]
fn http_is_allowed_for_loopback_hosts_only() {
    for host in ["127.0.0.1:8080", "127.8.8.8", "localhost", "[::1]:80", "chat.localhost"] {
        assert!(PublicUrl::parse(&format!("http://{host}")).is_ok(), "{host}");
        assert!(ProviderUrl::parse(&format!("http://{host}/"), None).is_ok(), "{host}");
    }
    for host in
        ["localhost.example.com", "128.0.0.1", "10.0.0.1", "0.0.0.0", "[::ffff:8.8.8.8]", "notlocalhost"]
    {
        assert!(PublicUrl::parse(&format!("http://{host}")).is_err(), "{host}");
        assert!(ProviderUrl::parse(&format!("http://{host}"), None).is_err(), "{host}");
    }
    assert_eq!(
        PublicUrl::parse("https://Chat.Example.com:443/").unwrap().as_str(),
        "https://chat.example.com"
    );
}

#[test]
fn half_an_app_is_an_error_that_names_the_missing_half() {
    for (given, missing) in [
        ("SHOPIFY_API_KEY", "SHOPIFY_API_SECRET: missing, but SHOPIFY_API_KEY is set"),
        ("SHOPIFY_API_SECRET", "SHOPIFY_API_KEY: missing, but SHOPIFY_API_SECRET is set"),
        ("SHOPIFY_API_SECRET_PREVIOUS", "SHOPIFY_API_SECRET_PREVIOUS (environment): is set without"),
        ("MESSENGER_APP_ID", "MESSENGER_VERIFY_TOKEN: missing, but MESSENGER_APP_ID is set"),
        ("MESSENGER_VERIFY_TOKEN", "MESSENGER_APP_SECRET: missing, but MESSENGER_VERIFY_TOKEN is set"),
        ("KUSTOMER_CLIENT_ID", "KUSTOMER_CLIENT_SECRET: missing, but KUSTOMER_CLIENT_ID is set"),
    ] {
        let shown = refused(environment([(given, CANARY)]));
        assert!(shown.contains(missing), "{given}: {shown}");
    }
    let shown = refused(environment([("AGENSTACK_SMTP_URL", "smtps://a:canary@mail.example.com")]));
    assert!(shown.starts_with("AGENSTACK_MAIL_FROM: missing"), "{shown}");
}

#[test]
fn a_secret_may_stand_in_a_file_but_not_in_two_places() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, empty) = (at("good", &format!("{}\n", key(1))), at("empty", "\n"));
    let from_file = environment([("AGENSTACK_MASTER_KEY_FILE", &good)]).unwrap();
    let direct = environment([("AGENSTACK_MASTER_KEY", &key(1))]).unwrap();
    assert_eq!(
        from_file.keys.vault().unwrap().current_key_id(),
        direct.keys.vault().unwrap().current_key_id()
    );
    assert!(file(&format!("[vault]\nmaster_key_file = '{good}'")).unwrap().keys.vault().is_ok());

    let both = environment([("AGENSTACK_MASTER_KEY", &key(1)), ("AGENSTACK_MASTER_KEY_FILE", &good)]);
    assert!(refused(both).contains("given both as it is and as AGENSTACK_MASTER_KEY_FILE"));
    let both = file(&format!("[vault]\nmaster_key = '{}'\nmaster_key_file = '{good}'", key(1)));
    assert!(refused(both).contains("AGENSTACK_MASTER_KEY (agenstack.toml): given both"));
    assert!(refused(environment([("AGENSTACK_MASTER_KEY_FILE", &empty)])).contains("is empty"));
    // The path is not repeated: people put the secret itself there.
    let shown = refused(environment([("SHOPIFY_API_SECRET_FILE", CANARY), ("SHOPIFY_API_KEY", "k")]));
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(
        shown.starts_with("SHOPIFY_API_SECRET_FILE (environment): the file that it names cannot be read")
    );
    // What is no secret has no file.
    assert!(environment([("AGENSTACK_LOG_FILE", CANARY)]).unwrap().warnings[0].contains("is not a setting"));
}

#[test]
fn a_rotation_needs_two_different_keys() {
    let same = environment([("AGENSTACK_MASTER_KEY", &key(1)), ("AGENSTACK_MASTER_KEY_PREVIOUS", &key(1))]);
    assert!(refused(same).contains("AGENSTACK_MASTER_KEY_PREVIOUS (environment): is the same key"));
    let alone = environment([("AGENSTACK_MASTER_KEY_PREVIOUS", &key(1))]);
    assert!(refused(alone).contains("is set without AGENSTACK_MASTER_KEY"));
    let two = environment([("AGENSTACK_MASTER_KEY", &key(1)), ("AGENSTACK_MASTER_KEY_PREVIOUS", &key(2))]);
    assert!(two.unwrap().keys.vault().is_ok());
}

#[test]
fn old_names_of_the_platform_work_and_new_names_win() {
    let old = [
        ("VITE_SHOPIFY_API_KEY", "old-key"),
        ("VITE_SHOPIFY_API_SECRET", "old-secret"),
        ("VITE_MESSENGER_APP_ID", "1"),
        ("VITE_MESSENGER_APP_SECRET", "2"),
        ("VITE_MESSENGER_VERIFY_TOKEN", "3"),
    ];
    let config = environment(old).unwrap();
    assert_eq!(config.shopify.app.unwrap().api_secret.expose_secret(), "old-secret");
    let app = config.messenger.app.unwrap();
    assert_eq!((app.app_secret.expose_secret(), app.verify_token.expose_secret()), ("2", "3"));

    let mut sources = Sources::from_environment(map(old));
    sources.add_file("agenstack.toml", "[shopify]\napi_secret = 'new-secret'").unwrap();
    let app = Config::load(&sources).unwrap().shopify.app.unwrap();
    assert_eq!((app.api_key.as_str(), app.api_secret.expose_secret()), ("old-key", "new-secret"));

    let in_file = file("VITE_SHOPIFY_API_KEY = 'a'\nvite_shopify_api_secret = 'b'").unwrap();
    assert_eq!(in_file.shopify.app.unwrap().api_secret.expose_secret(), "b");
}

#[test]
fn debug_of_everything_shows_no_secret() {
    let secrets: Vec<_> = SETTINGS.iter().filter(|setting| setting.secret).collect();
    let canary = |name: &str| match name {
        "AGENSTACK_DATABASE_URL" => format!("postgres://ana:{CANARY}@localhost/x?password={CANARY}"),
        "AGENSTACK_SMTP_URL" => format!("smtps://ana:{CANARY}@mail.example.com"),
        "AGENSTACK_MASTER_KEY" => key(1),
        "AGENSTACK_MASTER_KEY_PREVIOUS" => key(2),
        "AGENSTACK_OPERATOR_PASSWORD" => format!("{CANARY} and long enough"),
        _ => CANARY.to_owned(),
    };
    let mut all: BTreeMap<_, _> =
        secrets.iter().map(|setting| (setting.name.to_owned(), canary(setting.name))).collect();
    all.extend(map([
        ("SHOPIFY_API_KEY", "k"),
        ("MESSENGER_APP_ID", "1"),
        ("KUSTOMER_CLIENT_ID", "i"),
        ("AGENSTACK_MAIL_FROM", "chat@example.com"),
    ]));
    let sources = Sources::from_environment(all);
    let config = Config::load(&sources).unwrap();
    let shown = format!("{config:?} {sources:?} {:?}", SecretString::from(CANARY));
    assert!(!shown.contains("canary") && !shown.contains(&key(1)) && !shown.contains(&key(2)), "{shown}");
}

#[test]
fn a_mistyped_variable_is_pointed_out_and_foreign_ones_are_left_alone() {
    let config = environment([
        ("AGENSTACK_LISTNE", CANARY),
        ("AGENSTACK_PORT_8080_TCP", CANARY),
        ("AGENSTACK_SERVICE_HOST", CANARY),
        ("AGENSTACK_TEST_POSTGRES", CANARY),
        ("HOME", CANARY),
    ])
    .unwrap();
    assert_eq!(
        config.warnings,
        ["AGENSTACK_LISTNE (environment) is not a setting of agenstack and is ignored"]
    );
}

#[test]
fn files_are_read_where_they_are_named_and_missing_ones_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let location = |config: Option<&str>, env_file: Option<&str>| Location {
        config: config.map(Into::into),
        env_file: env_file.map(Into::into),
        directory: directory.path().into(),
    };
    let load =
        |location: &Location| Sources::gather(location, BTreeMap::new()).and_then(|s| Config::load(&s));
    assert_eq!(load(&location(None, None)).unwrap().server.workers, 16);
    std::fs::write(directory.path().join(".env"), "AGENSTACK_WORKERS=7").unwrap();
    assert_eq!(load(&location(None, None)).unwrap().server.workers, 16, "never silently");
    assert_eq!(load(&location(None, Some(".env"))).unwrap().server.workers, 7);
    std::fs::write(directory.path().join("bad.env"), "AGENSTACK_WORKERS=7\n?\nX='").unwrap();
    let bad = load(&location(None, Some("bad.env"))).unwrap_err();
    assert_eq!(bad.problems.len(), 2);
    assert!(
        bad.to_string().starts_with("line 2 (bad.env): expected NAME=value\nline 3 (bad.env): "),
        "{bad}"
    );
    std::fs::write(directory.path().join("agenstack.toml"), "[server]\nworkers = 5").unwrap();
    assert_eq!(load(&location(None, None)).unwrap().server.workers, 5);
    for missing in [location(Some("no.toml"), None), location(None, Some("no.env"))] {
        assert!(load(&missing).unwrap_err().to_string().contains("cannot be read: no such file"));
    }
}

#[test]
fn every_setting_is_documented() {
    let page = include_str!("../../../../docs/configuration.md");
    for setting in SETTINGS {
        let (section, key) = setting.key.split_once('.').expect("section and key");
        assert!(page.contains(&format!("`{}`", setting.name)), "{}", setting.name);
        assert!(
            page.contains(&format!("`[{section}]`")) && page.contains(&format!("`{key}`")),
            "{}",
            setting.key
        );
    }
}
