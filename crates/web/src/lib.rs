//! HTTP: the API, the dashboard, the webhook routes.
