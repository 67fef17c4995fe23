//! What has to be registered with each provider, ready to copy.

use crate::config::Config;

/// All addresses of this server that a provider wants to know.
pub(super) fn to_register(config: &Config) -> String {
    let url = &config.server.public_url;
    format!(
        "
To register with the providers
  Shopify    app URL        {url}/install/shopify
             redirect URL   {url}/api/oauth/shopify/callback
             webhooks       {url}/api/webhooks/shopify   (also for the three compliance topics)
  Meta       redirect URI   {url}/api/oauth/messenger/callback
             webhooks       {url}/api/webhooks/messenger   (object page; its verify token is MESSENGER_VERIFY_TOKEN)
             deauthorize    {url}/api/webhooks/messenger/deauthorize
             data deletion  {url}/api/webhooks/messenger/data-deletion
  Kustomer   redirect URI   {url}/api/oauth/kustomer/callback
             webhooks       {url}/api/webhooks/kustomer/{{integration}}   (one for each connection, which sets it itself)
"
    )
}
