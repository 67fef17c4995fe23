// Talks to AgenStack's API from a page on the same origin. No dependency, no secret: the browser's own session cookie,
// which scripts cannot read, says who asks.

/** What can be connected, and what has to be asked before. */
export const PROVIDERS = [
  {
    id: "shopify",
    title: "Shopify",
    purpose: "Finds orders and products, so that customers learn where their parcel is.",
    field: { name: "shop", label: "Name of your shop", ending: ".myshopify.com", shape: /^[a-z0-9][a-z0-9-]*$/ },
  },
  {
    id: "messenger",
    title: "Messenger",
    purpose: "Receives what customers write to your Facebook Page, and answers there.",
  },
  {
    id: "kustomer",
    title: "Kustomer",
    purpose: "Takes over the conversation when a customer wants to talk to a person.",
    field: { name: "subdomain", label: "Name of your account", ending: ".kustomerapp.com", shape: /^[a-z0-9][a-z0-9_-]*$/ },
  },
];

/** What each status is called. */
export const STATUS = {
  connected: "Connected",
  needs_reconnect: "Needs reconnecting",
  paused: "Paused",
  disconnected: "Not connected",
};

/** An answer that is none. `status` is HTTP's (0: nothing came back), `code` is AgenStack's, `message` is for people. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code });
  }
}

async function call(path, method = "GET") {
  let answer;
  try {
    // Same origin: the browser sends the cookie along, and says which site asks, which AgenStack compares.
    answer = await fetch(path, { method, headers: { accept: "application/json" }, credentials: "same-origin" });
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer. Try again in a moment.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new ApiError(answer.status, body?.error?.code ?? "unknown", body?.error?.message ?? `The server answered ${answer.status}.`);
  }
  return body;
}

const organization = (org) => `/api/organizations/${encodeURIComponent(org)}`;

/** Who is signed in, and where they are a member; `null` if nobody is. */
export async function me() {
  try {
    return await call("/api/me");
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** The connections of an organization. */
export const integrations = async (org) => (await call(`${organization(org)}/integrations`)).items;

/** Asks the provider, now, whether a connection works: `{ok, message}`. */
export const test = (org, id) => call(`${organization(org)}/integrations/${encodeURIComponent(id)}/test`, "POST");

/** Where the browser goes to connect. A whole page goes there (`location.assign`); a `fetch` cannot. */
export function connectUrl(provider, org, more = {}) {
  return `/api/oauth/${provider}/redirect?${new URLSearchParams({ organization_id: org, ...more })}`;
}

/** What a person typed, as the name alone: `https://Lark-Supply.myshopify.com/` is `lark-supply`; `null` if it is none. */
export function accountName(field, typed) {
  const bare = typed.trim().toLowerCase().replace(/^https:\/\//, "").replace(/\/$/, "");
  const name = bare.endsWith(field.ending) ? bare.slice(0, -field.ending.length) : bare;
  return field.shape.test(name) ? name : null;
}

/** What an account is called. */
export function accountLabel({ account_identifier: it }) {
  return it.pageName ?? it.storeName ?? it.shop ?? it.orgName ?? it.subdomain ?? "";
}

/**
 * How a connection ended that the browser comes back from: `{title, ok, reason}`, or `null`. The address can be written by
 * anybody, so that only words we know leave this function.
 */
export function outcome(search) {
  const query = new URLSearchParams(search);
  for (const { id, title } of PROVIDERS) {
    if (query.get(id) === "connected") return { title, ok: true, reason: null };
    if (query.get(id) === "error") {
      const reason = query.get("reason") ?? "";
      return { title, ok: false, reason: /^[a-z_]{1,40}$/.test(reason) ? reason : "unknown" };
    }
  }
  return null;
}

/** The same in a sentence. */
export function outcomeText({ title, ok, reason }) {
  if (ok) return `${title} is connected.`;
  if (reason === "denied") return `${title} was not connected: it was cancelled there. Connect again when you are ready.`;
  return `${title} was not connected (${reason}). Connect again, or look at the connection's page for what to do.`;
}

/** The organization that the page's address names (`/orgs/{org}/integrations`), or the first one. */
export function chosenOrganization(path, organizations) {
  const named = /^\/orgs\/([^/]+)\/integrations$/.exec(path)?.[1];
  return (organizations.find((it) => it.id === named) ?? organizations[0])?.id ?? null;
}
