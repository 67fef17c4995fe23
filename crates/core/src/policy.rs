//! Who may do what: one table, role by action.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }
        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The word that stands for it in the database and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
            /// Reads the word; `None` for any other.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)* _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use words;

words! {
    /// What a member is in an organization; each may do all that the next one may.
    Role {
        /// Everything, the organization itself included.
        Owner = "owner",
        /// Connections, members, keys and the bot.
        Admin = "admin",
        /// Conversations.
        Agent = "agent",
        /// Looking.
        Viewer = "viewer",
    }
}

words! {
    /// A deed below an organization. Every route names the one it needs.
    Action {
        /// See the organization and its home page.
        OrganizationRead = "organization.read",
        /// Delete the organization.
        OrganizationDelete = "organization.delete",
        /// See connections and how they are.
        IntegrationRead = "integration.read",
        /// Connect, choose a page, test, reconnect, disconnect.
        IntegrationManage = "integration.manage",
        /// Release an account to another organization.
        IntegrationTransfer = "integration.transfer",
        /// See the list of events.
        EventRead = "event.read",
        /// See what an event carried, and replay it.
        EventManage = "event.manage",
        /// Read conversations.
        ConversationRead = "conversation.read",
        /// Answer, take over, hand back.
        ConversationWrite = "conversation.write",
        /// See privacy requests, and fetch what they export.
        PrivacyManage = "privacy.manage",
    }
}

impl Role {
    /// Whether this role may do `action`.
    pub const fn may(self, action: Action) -> bool {
        use Action::*;
        match action {
            OrganizationRead | IntegrationRead | EventRead | ConversationRead => true,
            ConversationWrite => matches!(self, Role::Owner | Role::Admin | Role::Agent),
            IntegrationManage | EventManage | PrivacyManage => matches!(self, Role::Owner | Role::Admin),
            IntegrationTransfer | OrganizationDelete => matches!(self, Role::Owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_roles_and_actions_is_the_one_that_was_agreed() {
        let mut table = format!("{:<24}", "");
        for role in Role::ALL {
            table += &format!("{:<8}", role.as_str());
        }
        for action in Action::ALL {
            table = table.trim_end().to_owned() + &format!("\n{:<24}", action.as_str());
            for role in Role::ALL {
                table += &format!("{:<8}", if role.may(*action) { "yes" } else { "-" });
            }
        }
        insta::assert_snapshot!(table.trim_end(), @r"
                                owner   admin   agent   viewer
        organization.read       yes     yes     yes     yes
        organization.delete     yes     -       -       -
        integration.read        yes     yes     yes     yes
        integration.manage      yes     yes     -       -
        integration.transfer    yes     -       -       -
        event.read              yes     yes     yes     yes
        event.manage            yes     yes     -       -
        conversation.read       yes     yes     yes     yes
        conversation.write      yes     yes     yes     -
        privacy.manage          yes     yes     -       -
        ");
    }
}
