//! Two people and their pages. The first two pages are good; others lack a task each.

use std::collections::BTreeMap;

use super::{Customer, Network, Page, Person};

const ALL: [&str; 6] = ["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE", "MANAGE"];

fn page(id: &str, name: &str, category: &str, person: &str, without: &[&str], customers: &[(&str, &str, &str)]) -> Page {
    let customer = |(psid, first, last): &(&str, &str, &str)| {
        let (first_name, last_name) = ((*first).to_owned(), (*last).to_owned());
        ((*psid).to_owned(), Customer { first_name, last_name, thread: Vec::new() })
    };
    Page {
        id: id.to_owned(),
        name: name.to_owned(),
        category: category.to_owned(),
        person: person.to_owned(),
        tasks: ALL.iter().filter(|t| !without.contains(t)).map(|t| (*t).to_owned()).collect(),
        subscribed: None,
        customers: customers.iter().map(customer).collect(),
    }
}

/// The demo network.
pub(crate) fn network() -> Network {
    let (mia, theo) = ("122100000000001", "122100000000002");
    let people = vec![
        Person { id: mia.to_owned(), name: "Mia Lindqvist".to_owned() },
        Person { id: theo.to_owned(), name: "Theo Ferrand".to_owned() },
    ];
    let pages = [
        page("104729388401553", "Lark Supply", "Outdoor equipment", mia, &[], &[
            ("7100000000000001", "Ana", "Brandt"), ("7100000000000002", "Ben", "Okafor"), ("7100000000000003", "Zoë", "Ünal")]),
        page("208811930064127", "Moss Goods", "Home decor", mia, &[], &[
            ("7200000000000001", "Ana", "Brandt"), ("7200000000000002", "Ben", "Okafor"), ("7200000000000003", "Ida", "Novak")]),
        page("215500417733902", "Lark Careers", "Recruiter", mia, &["MESSAGING"], &[("7300000000000001", "Ana", "Brandt")]),
        page("216640923310458", "Moss Wholesale", "Wholesale", mia, &["MODERATE"], &[("7400000000000001", "Ben", "Okafor")]),
        page("310057726419982", "Tin Atelier", "Art", theo, &[], &[
            ("7500000000000001", "Cleo", "Maas"), ("7500000000000002", "Ana", "Brandt")]),
        page("311940085527716", "Frozen Fox", "Kitchen supplies", theo, &[], &[("7600000000000001", "Dee", "Lund")]),
    ];
    let pages: BTreeMap<String, Page> = pages.into_iter().map(|p| (p.id.clone(), p)).collect();
    Network { people, pages, codes: Vec::new(), grants: BTreeMap::new(), tokens: Vec::new() }
}
