//! The command line, as it is called.

use super::*;

fn call(words: &[&str], environment: &[(&str, &str)]) -> u8 {
    let folder = tempfile::tempdir().unwrap();
    let words = ["agenstack"].iter().chain(words).map(OsString::from);
    let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    run(words, environment, folder.path().to_owned())
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_2_and_help_with_0() {
    assert_eq!(call(&["nonsense"], &[]), USAGE);
    assert_eq!(call(&["serve", "--role", "none"], &[]), USAGE);
    assert_eq!(call(&["--help"], &[]), OK);
    assert_eq!(call(&["keys", "generate"], &[]), OK);
}

#[test]
fn credentials_of_one_customer_end_serve_demo_and_doctor_with_78() {
    let names = [
        "SHOPIFY_ACCESS_TOKEN",
        "SHOPIFY_STORE_NAME",
        "KUSTOMER_SUBDOMAIN",
        "KUSTOMER_API_KEY",
        "MESSENGER_PAGE_ACCESS_TOKEN",
    ];
    for name in names {
        for prefix in ["", "VITE_"] {
            for command in ["serve", "demo", "doctor"] {
                let name = format!("{prefix}{name}");
                assert_eq!(call(&[command], &[(&name, "canary")]), refusal::EXIT_CODE, "{command} {name}");
            }
        }
    }
}

#[test]
fn credentials_of_one_customer_are_found_in_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let env_file = folder.path().join("old.env");
    std::fs::write(&env_file, "KUSTOMER_API_KEY=canary\n").unwrap();
    let file = env_file.display().to_string();
    assert_eq!(call(&["serve", "--env-file", &file], &[]), refusal::EXIT_CODE);
    let config = folder.path().join("old.toml");
    std::fs::write(&config, "[shopify]\nstore_name = 'canary'\n").unwrap();
    assert_eq!(call(&["doctor", "--config", &config.display().to_string()], &[]), refusal::EXIT_CODE);
}

#[test]
fn attack_42_a_server_without_a_real_master_key_does_not_start() {
    let listen = ("AGENSTACK_LISTEN", "127.0.0.1:0");
    assert_eq!(call(&["serve"], &[listen]), refusal::EXIT_CODE);
    for bad in ["c2hvcnQ=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "a passphrase of some length", ""]
    {
        assert_eq!(call(&["serve"], &[listen, ("AGENSTACK_MASTER_KEY", bad)]), refusal::EXIT_CODE, "{bad}");
    }
}

#[test]
fn every_command_says_what_it_does() {
    use clap::CommandFactory;
    let mut all = Arguments::command();
    all.build();
    for command in all.get_subcommands().filter(|c| c.get_name() != "help") {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn a_backup_is_made_of_an_embedded_database_that_is_there_into_a_file_that_is_not() {
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_store::testing::sqlite;
    use agenstack_vault::MasterKey;
    use secrecy::ExposeSecret;

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(sqlite());
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let all = std::fs::read_dir(folder.path()).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let key = MasterKey::generate(&SeededEntropy::new(1));
    let file = folder.path().join("copy.db").display().to_string();
    let backup = |database: &str| {
        let settings = [("AGENSTACK_MASTER_KEY", key.expose_secret()), ("AGENSTACK_DATABASE_URL", database)];
        call(&["backup", &file], &settings)
    };
    let nothing = format!("sqlite://{}/none.db", folder.path().display());
    for database in [nothing.as_str(), "postgres://nobody@127.0.0.1:9/none"] {
        assert_eq!((backup(database), names().len()), (FAILED, 0), "{database}");
    }
    // A run that was killed left something there.
    std::fs::write(format!("{file}.part"), "half a copy").unwrap();
    std::fs::write(format!("{file}.part-journal"), "how to undo it").unwrap();
    assert_eq!((backup(&db.url), names()), (OK, vec!["copy.db".to_owned()]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }
    let copied = std::fs::read(&file).unwrap();
    assert_eq!(backup(&db.url), FAILED, "it is there already");
    assert_eq!(std::fs::read(&file).unwrap(), copied);
}

#[test]
fn a_server_with_another_master_key_than_its_databases_does_not_start() {
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::DataKeyId;
    use agenstack_store::testing::{World, sqlite};
    use agenstack_vault::{MasterKey, Vault};
    use secrecy::ExposeSecret;

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(async {
        let (db, world) = (sqlite().await, World::new());
        let (org, _) = world.organization(&db.store, "Lark").await;
        let key = MasterKey::parse(&MasterKey::generate(&SeededEntropy::new(1))).unwrap();
        let id = world.id(DataKeyId::new);
        let made = Vault::new(key, None).create_data_key(org.org(), &id, &world.entropy);
        let stored = agenstack_store::global::key::StoredKey {
            id,
            master_key_id: made.master_key_id,
            wrapped: made.wrapped,
        };
        let mut tx = db.store.global().await.unwrap();
        tx.key_add(org.org(), &stored, world.now()).await.unwrap();
        tx.commit().await.unwrap();
        db
    });
    let other = MasterKey::generate(&SeededEntropy::new(2)).expose_secret().to_owned();
    let settings = [
        ("AGENSTACK_LISTEN", "127.0.0.1:0"),
        ("AGENSTACK_DATABASE_URL", db.url.as_str()),
        ("AGENSTACK_MASTER_KEY", other.as_str()),
    ];
    assert_eq!(call(&["serve"], &settings), refusal::EXIT_CODE);
}
