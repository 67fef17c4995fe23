//! Speaks to Shopify, Meta and Kustomer.
