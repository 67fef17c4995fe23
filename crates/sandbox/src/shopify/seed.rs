//! The demo shops. Lark and Moss share a customer and an order number on purpose: nothing else tells their data apart.

use std::collections::BTreeMap;

use super::{Customer, Item, Order, Parcel, Product, Shop, Variant};

const DAY: i64 = 86_400_000;

fn shop(at: u64, name: &str, label: &str) -> Shop {
    let domain = format!("{label}.myshopify.com");
    Shop {
        id: 68_001_112_200 + at,
        email: format!("hello@{label}.example"),
        name: name.to_owned(),
        domain,
        currency: "EUR".to_owned(),
        frozen: false,
        customers: Vec::new(),
        orders: Vec::new(),
        products: Vec::new(),
        codes: Vec::new(),
        grant: None,
        dead_tokens: Vec::new(),
        subscriptions: Vec::new(),
        addresses: Vec::new(),
        next_id: 1_400_000_000_000 + at * 1_000_000,
        bucket: None,
    }
}

impl Shop {
    fn customer(&mut self, first: &str, last: &str, email: &str, phone: Option<&str>) -> u64 {
        let id = 7_300_000_000_000 + (self.id % 100) * 1_000 + self.customers.len() as u64 + 1;
        let (first_name, last_name) = (first.to_owned(), last.to_owned());
        self.customers.push(Customer { id, first_name, last_name, email: email.to_owned(), phone: phone.map(str::to_owned) });
        id
    }

    fn product(&mut self, title: &str, description: &str, status: &str, variants: &[(&str, &str, u32, i32)]) {
        let id = 8_100_000_000_000 + (self.id % 100) * 1_000 + self.products.len() as u64 + 1;
        let variant = |(at, (title, sku, cents, stock)): (usize, &(&str, &str, u32, i32))| Variant {
            id: id * 10 + at as u64,
            title: (*title).to_owned(),
            sku: (*sku).to_owned(),
            cents: *cents,
            stock: *stock,
        };
        self.products.push(Product {
            id,
            title: title.to_owned(),
            handle: title.to_lowercase().replace(' ', "-"),
            status: status.to_owned(),
            description: description.to_owned(),
            variants: variants.iter().enumerate().map(variant).collect(),
        });
    }

    /// An order of `days` ago, paid and not yet sent.
    fn order(&mut self, number: u32, now: i64, days: i64, buyer: Option<u64>, items: &[(&str, &str, u32, u32)]) -> &mut Order {
        let id = 5_800_000_000_000 + (self.id % 100) * 1_000_000 + u64::from(number);
        let email = buyer.and_then(|b| self.customers.iter().find(|c| c.id == b)).map(|c| c.email.clone());
        let item = |(title, sku, quantity, cents): &(&str, &str, u32, u32)| Item {
            title: (*title).to_owned(),
            sku: (*sku).to_owned(),
            quantity: *quantity,
            cents: *cents,
        };
        self.orders.push(Order {
            id,
            number,
            created_ms: now - days * DAY,
            cancelled_ms: None,
            email,
            customer_id: buyer,
            items: items.iter().map(item).collect(),
            financial: "PAID".to_owned(),
            fulfillment: "UNFULFILLED".to_owned(),
            parcel: None,
            city: "Berlin".to_owned(),
        });
        self.orders.last_mut().expect("an order was just added")
    }
}

impl Order {
    fn sent(&mut self, company: &str, number: &str, status: &str, now: i64) {
        self.fulfillment = "FULFILLED".to_owned();
        self.parcel = Some(Parcel {
            company: company.to_owned(),
            number: number.to_owned(),
            url: format!("https://track.example/{number}"),
            status: status.to_owned(),
            sent_ms: now - 2 * DAY,
            expected_ms: Some(now + DAY),
            delivered_ms: (status == "DELIVERED").then_some(now - DAY / 2),
        });
    }
}

fn lark(now: i64) -> Shop {
    let mut s = shop(1, "Lark Supply", "lark-supply");
    let ana = s.customer("Ana", "Brandt", "ana@example.com", Some("+4915550100001"));
    let ben = s.customer("Ben", "Okafor", "ben@example.com", None);
    s.product("Trail Backpack 28L", "A light pack of waxed canvas with a padded back.", "ACTIVE", &[("Moss green", "LARK-BP-GRN", 8900, 12), ("Sand", "LARK-BP-SND", 8900, 0)]);
    s.product("Enamel Mug", "Holds 350 ml and survives a fall.", "ACTIVE", &[("One size", "LARK-MUG", 1450, 140)]);
    s.product("Wool Blanket", "Woven in Portugal, 130 by 180 cm.", "ACTIVE", &[("Grey", "LARK-WB-GRY", 6400, 7), ("Rust", "LARK-WB-RST", 6400, 3)]);
    s.product("Winter Tent", "Not for sale yet.", "DRAFT", &[("One size", "LARK-TENT", 32900, 0)]);
    s.order(1001, now, 3, Some(ana), &[("Trail Backpack 28L", "LARK-BP-GRN", 1, 8900), ("Enamel Mug", "LARK-MUG", 2, 1450)]).sent("UPS", "1Z-LARK-1001", "IN_TRANSIT", now);
    s.order(1002, now, 12, Some(ana), &[("Wool Blanket", "LARK-WB-GRY", 1, 6400)]).sent("DHL", "JD-LARK-1002", "DELIVERED", now);
    let third = s.order(1003, now, 8, Some(ana), &[("Enamel Mug", "LARK-MUG", 4, 1450)]);
    third.cancelled_ms = Some(now - 7 * DAY);
    third.financial = "REFUNDED".to_owned();
    s.order(1004, now, 1, Some(ben), &[("Trail Backpack 28L", "LARK-BP-SND", 1, 8900)]);
    s.order(1005, now, 2, None, &[("Enamel Mug", "LARK-MUG", 1, 1450)]);
    s
}

fn moss(now: i64) -> Shop {
    let mut s = shop(2, "Moss Goods", "moss-goods");
    let ana = s.customer("Ana", "Brandt", "ana@example.com", Some("+4915550100001"));
    let ben = s.customer("Ben", "Okafor", "ben@example.com", Some("+4915550100002"));
    s.product("Fern Planter", "Stoneware with a saucer.", "ACTIVE", &[("Small", "MOSS-FP-S", 2400, 30), ("Large", "MOSS-FP-L", 4900, 5)]);
    s.product("Terrarium Kit", "Glass, gravel, charcoal and patience.", "ACTIVE", &[("One size", "MOSS-TK", 5900, 9)]);
    s.product("Watering Can", "Copper, 1.5 litres.", "ACTIVE", &[("One size", "MOSS-WC", 3900, 0)]);
    s.order(1001, now, 1, Some(ana), &[("Terrarium Kit", "MOSS-TK", 1, 5900)]);
    s.order(1002, now, 15, Some(ana), &[("Fern Planter", "MOSS-FP-S", 2, 2400)]).sent("DPD", "DPD-MOSS-1002", "DELIVERED", now);
    let third = s.order(1003, now, 9, Some(ana), &[("Watering Can", "MOSS-WC", 1, 3900)]);
    third.cancelled_ms = Some(now - 8 * DAY);
    third.financial = "REFUNDED".to_owned();
    s.order(1004, now, 4, Some(ben), &[("Fern Planter", "MOSS-FP-L", 1, 4900)]).sent("GLS", "GLS-MOSS-1004", "OUT_FOR_DELIVERY", now);
    s.order(1005, now, 2, None, &[("Fern Planter", "MOSS-FP-S", 1, 2400)]);
    s
}

fn tin(now: i64) -> Shop {
    let mut s = shop(3, "Tin Atelier", "tin-atelier");
    let cleo = s.customer("Cleo", "Maas", "cleo@example.com", None);
    let ana = s.customer("Ana", "Brandt", "ana@example.com", None);
    s.product("Tin Lantern", "Punched by hand.", "ACTIVE", &[("Star", "TIN-LN-STR", 3600, 18), ("Moon", "TIN-LN-MON", 3600, 2)]);
    s.product("Cookie Cutter Set", "Nine shapes.", "ACTIVE", &[("One size", "TIN-CC", 1900, 60)]);
    s.order(2001, now, 2, Some(cleo), &[("Tin Lantern", "TIN-LN-STR", 2, 3600)]).sent("UPS", "1Z-TIN-2001", "IN_TRANSIT", now);
    s.order(2002, now, 6, Some(ana), &[("Cookie Cutter Set", "TIN-CC", 1, 1900)]);
    s
}

fn frozen(now: i64) -> Shop {
    let mut s = shop(4, "Frozen Fox", "frozen-fox");
    s.frozen = true;
    let dee = s.customer("Dee", "Lund", "dee@example.com", None);
    s.product("Ice Tray", "Makes large cubes.", "ACTIVE", &[("One size", "FOX-IT", 900, 4)]);
    s.order(1001, now, 5, Some(dee), &[("Ice Tray", "FOX-IT", 1, 900)]);
    s
}

/// All shops, as of `now`.
pub(crate) fn shops(now: i64) -> BTreeMap<String, Shop> {
    [lark(now), moss(now), tin(now), frozen(now)].into_iter().map(|s| (s.domain.clone(), s)).collect()
}
