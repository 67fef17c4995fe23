//! Kinds of file, by name.

use std::path::Path;

/// What a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Settings, one `NAME=value` to a line.
    Dotenv,
    /// JavaScript, TypeScript, JSX, TSX.
    Script,
    /// Vue, Svelte, HTML and templates.
    Markup,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Rust, whose quotes are also lifetimes.
    Rust,
    /// Go, Java, Kotlin, C#, Swift, Dart, C and the like.
    Curly,
    /// Shell.
    Shell,
    /// SQL.
    Sql,
    /// YAML, with Compose and CI files.
    Yaml,
    /// Terraform.
    Terraform,
    /// JSON.
    Json,
    /// TOML, INI and properties.
    Toml,
    /// Dockerfiles.
    Docker,
    /// Style sheets.
    Style,
    /// Text for people: credentials only.
    Docs,
    /// Anything else that is text: credentials only.
    Other,
}

/// What the rules call the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Programs.
    Code,
    /// Pages.
    Markup,
    /// Settings.
    Data,
    /// Text for people.
    Docs,
}

impl Kind {
    /// By the name of the file.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let env = |n: &str| {
            n == ".env" || n.starts_with(".env.") || n.ends_with(".env") || n == ".envrc" || n == "env"
        };
        if env(&name)
            || name.starts_with("env.")
                && !name.contains(".d.")
                && name.matches('.').count() == 1
                && is_env_tail(&name)
        {
            return Self::Dotenv;
        }
        if name.starts_with("dockerfile")
            || name.ends_with(".dockerfile")
            || name.starts_with("containerfile")
        {
            return Self::Docker;
        }
        if matches!(name.as_str(), "jenkinsfile" | "build.gradle") {
            return Self::Curly;
        }
        if matches!(name.as_str(), "gemfile" | "rakefile" | "fastfile" | "vagrantfile") {
            return Self::Ruby;
        }
        if matches!(name.as_str(), "makefile" | "justfile" | "procfile") {
            return Self::Shell;
        }
        match name.rsplit('.').next().filter(|_| name.contains('.')).unwrap_or_default() {
            "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx" => Self::Script,
            "vue" | "svelte" | "html" | "htm" | "astro" | "hbs" | "ejs" | "liquid" | "twig" | "j2"
            | "erb" | "njk" | "xml" | "xhtml" | "svg" => Self::Markup,
            "py" | "pyi" | "ipynb" => Self::Python,
            "rb" | "rake" | "ru" | "ex" | "exs" => Self::Ruby,
            "php" | "phtml" => Self::Php,
            "rs" => Self::Rust,
            "go" | "java" | "kt" | "kts" | "cs" | "scala" | "groovy" | "gradle" | "swift" | "dart" | "c"
            | "h" | "cc" | "cpp" | "hpp" | "proto" | "graphql" | "gql" | "prisma" => Self::Curly,
            "sh" | "bash" | "zsh" | "fish" | "ps1" | "bat" | "cmd" => Self::Shell,
            "sql" | "psql" => Self::Sql,
            "yml" | "yaml" => Self::Yaml,
            "tf" | "tfvars" | "hcl" => Self::Terraform,
            "json" | "jsonc" | "json5" | "jsonl" | "webmanifest" => Self::Json,
            "toml" | "ini" | "cfg" | "conf" | "properties" | "service" => Self::Toml,
            "css" | "scss" | "sass" | "less" => Self::Style,
            "md" | "mdx" | "markdown" | "rst" | "adoc" | "txt" | "log" => Self::Docs,
            _ => Self::Other,
        }
    }

    /// What the rules call it.
    pub fn class(self) -> Class {
        match self {
            Self::Script | Self::Python | Self::Ruby | Self::Php | Self::Rust | Self::Curly | Self::Sql => {
                Class::Code
            }
            Self::Markup | Self::Style => Class::Markup,
            Self::Dotenv
            | Self::Shell
            | Self::Yaml
            | Self::Terraform
            | Self::Json
            | Self::Toml
            | Self::Docker => Class::Data,
            Self::Docs | Self::Other => Class::Docs,
        }
    }

    /// Marks that begin a comment to the end of the line.
    pub(crate) fn line_comments(self) -> &'static [&'static str] {
        match self {
            Self::Script | Self::Rust | Self::Curly | Self::Json | Self::Markup | Self::Style => &["//"],
            Self::Python | Self::Ruby | Self::Shell | Self::Yaml | Self::Docker | Self::Dotenv => &["#"],
            Self::Toml => &["#", ";"],
            Self::Php | Self::Terraform => &["//", "#"],
            Self::Sql => &["--"],
            Self::Docs | Self::Other => &[],
        }
    }

    /// Marks around a comment of several lines.
    pub(crate) fn block_comments(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Script
            | Self::Rust
            | Self::Curly
            | Self::Php
            | Self::Sql
            | Self::Style
            | Self::Terraform
            | Self::Json => &[("/*", "*/")],
            Self::Markup => &[("<!--", "-->"), ("/*", "*/")],
            Self::Python => &[("\"\"\"", "\"\"\""), ("'''", "'''")],
            Self::Ruby => &[("=begin", "=end")],
            _ => &[],
        }
    }
}

fn is_env_tail(name: &str) -> bool {
    matches!(
        name.rsplit('.').next(),
        Some("example" | "sample" | "local" | "development" | "production" | "staging" | "test")
    )
}

/// Whether a file holds tests.
pub(crate) fn is_test(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let (folders, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let folder = |f: &str| {
        matches!(
            f,
            "test"
                | "tests"
                | "__tests__"
                | "spec"
                | "specs"
                | "__mocks__"
                | "mocks"
                | "fixtures"
                | "e2e"
                | "testdata"
                | "cypress"
        )
    };
    folders.split('/').any(folder)
        || [".test.", ".spec.", "_test.", "_spec.", ".cy.", ".stories."]
            .iter()
            .any(|mark| name.contains(mark))
        || name.starts_with("test_")
        || matches!(name, "tests.rs" | "testing.rs" | "conftest.py" | "tests.py")
        || (path.ends_with("Test.java")
            || path.ends_with("Tests.cs")
            || path.ends_with("Test.php")
            || path.ends_with("Test.kt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name() {
        for (path, kind) in [
            (".env", Kind::Dotenv),
            ("a/.env.production", Kind::Dotenv),
            ("prod.env", Kind::Dotenv),
            ("env.example", Kind::Dotenv),
            ("env.ts", Kind::Script),
            ("src/App.vue", Kind::Markup),
            ("Dockerfile.dev", Kind::Docker),
            ("docker-compose.yml", Kind::Yaml),
            (".github/workflows/ci.yaml", Kind::Yaml),
            ("README.md", Kind::Docs),
            ("LICENSE", Kind::Other),
        ] {
            assert_eq!(Kind::of(Path::new(path)), kind, "{path}");
        }
    }

    #[test]
    fn tests_are_known_by_folder_and_name() {
        for path in [
            "tests/a.py",
            "src/__tests__/a.ts",
            "src/a.test.tsx",
            "a_test.go",
            "src/AccountTest.java",
            "spec/a.rb",
        ] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/contest.js", "src/latest.ts", "testimonials/a.html"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
