//! SQL that carries names from outside, written so that a name stays a name.

use std::fmt;

use postgres_protocol::password::scram_sha_256;

/// The longest name that PostgreSQL does not cut (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;

/// A database's or role's name, quoted when it is displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// None when PostgreSQL would refuse or cut it.
    pub(crate) fn new(text: &'a str) -> Option<Self> {
        let fits = (1..=LONGEST_NAME).contains(&text.len());
        (fits && !text.contains('\0')).then_some(Self(text))
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A text between quotes; a backslash in it means itself whatever the server's settings say.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.replace('\0', "").replace('\'', "''");
        match text.contains('\\') {
            true => write!(f, " E'{}'", text.replace('\\', "\\\\")),
            false => write!(f, "'{text}'"),
        }
    }
}

/// Cloud SQL's own roles. API users are members of the first, IAM users of one of the others, and
/// the databases that the API creates belong to the first (documentation "About PostgreSQL users
/// and roles").
pub(crate) const SUPERUSER: &str = "cloudsqlsuperuser";
pub(crate) const IAM_USER: &str = "cloudsqliamuser";
pub(crate) const IAM_SERVICE_ACCOUNT: &str = "cloudsqliamserviceaccount";

/// Creates Cloud SQL's own roles where they are missing.
pub(crate) fn own_roles() -> String {
    [(SUPERUSER, "CREATEDB CREATEROLE"), (IAM_USER, ""), (IAM_SERVICE_ACCOUNT, "")]
        .map(|(role, rights)| create_role_unless_there(role, &format!("NOLOGIN {rights}")))
        .concat()
}

fn create_role_unless_there(role: &str, attributes: &str) -> String {
    let Some(name) = Name::new(role) else { return String::new() };
    // Two connections may do this at once; PostgreSQL has no CREATE ROLE IF NOT EXISTS.
    let body = format!(
        "BEGIN CREATE ROLE {name} {attributes}; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END"
    );
    format!("DO {};", Text(&body))
}

/// Makes the role what the API says a user is, whether it was there or not.
pub(crate) fn ensure_user(
    user: Name<'_>,
    password: Option<&str>,
    member_of: &[Name<'_>],
) -> String {
    let mut out = create_role_unless_there(user.0, "LOGIN");
    out.push_str(&format!("ALTER ROLE {user} LOGIN"));
    if let Some(password) = password {
        out.push_str(&format!(" PASSWORD {}", Text(&verifier(password))));
    }
    out.push(';');
    for role in member_of {
        out.push_str(&format!("GRANT {role} TO {user};"));
    }
    out
}

/// What a server keeps of a password. Made here, so that no log of PostgreSQL's ever has the password.
fn verifier(password: &str) -> String {
    scram_sha_256(password.as_bytes())
}

pub(crate) fn drop_user(user: Name<'_>) -> String {
    format!("DROP ROLE IF EXISTS {user};")
}

/// Takes a role away with what it owns in the database `postgres`.
pub(crate) fn purge_user(user: Name<'_>) -> String {
    let body = format!(
        "BEGIN DROP OWNED BY {user}; DROP ROLE {user}; \
         EXCEPTION WHEN undefined_object THEN NULL; END"
    );
    format!("DO {};", Text(&body))
}

/// A database that was there before belongs to Cloud SQL as well.
pub(crate) fn adopt_database(database: Name<'_>) -> String {
    format!("ALTER DATABASE {database} OWNER TO {SUPERUSER}")
}

/// `template0` because another encoding than the template's is only possible from it.
pub(crate) fn create_database(
    database: Name<'_>,
    charset: &str,
    collation: Option<&str>,
) -> String {
    let mut out = format!(
        "CREATE DATABASE {database} OWNER {SUPERUSER} TEMPLATE template0 ENCODING {}",
        Text(charset)
    );
    if let Some(collation) = collation {
        out.push_str(&format!(" LC_COLLATE {0} LC_CTYPE {0}", Text(collation)));
    }
    out
}

/// Cloud SQL does not force: it refuses while somebody is connected.
pub(crate) fn drop_database(database: Name<'_>, force: bool) -> String {
    let force = if force { " WITH (FORCE)" } else { "" };
    format!("DROP DATABASE {database}{force}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name() {
        let name = Name::new("a\"; DROP TABLE runs; --").unwrap();
        assert_eq!(name.to_string(), "\"a\"\"; DROP TABLE runs; --\"");
        assert!(Name::new("").is_none() && Name::new("a\0b").is_none());
        assert!(Name::new(&"x".repeat(64)).is_none());
    }

    #[test]
    fn a_text_stays_a_text() {
        assert_eq!(Text("it's").to_string(), "'it''s'");
        assert_eq!(Text("a\\'b").to_string(), " E'a\\\\''b'");
    }

    #[test]
    fn a_quoted_name_inside_of_a_block_is_quoted_twice() {
        let sql = ensure_user(Name::new("o'neil\\x").unwrap(), None, &[]);
        assert!(sql.starts_with("DO  E'BEGIN CREATE ROLE \"o''neil\\\\x\" LOGIN;"), "{sql}");
    }

    #[test]
    fn the_password_itself_is_not_in_the_statement() {
        let sql = ensure_user(Name::new("mlflow").unwrap(), Some("hunter2"), &[]);
        assert!(sql.contains("SCRAM-SHA-256$4096:") && !sql.contains("hunter2"), "{sql}");
    }
}
