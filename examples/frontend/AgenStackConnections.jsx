// The same as a React component. It takes nothing but an organization, and keeps nothing:
//
//   <AgenStackConnections organization="org_…" search={location.search} />

import { useEffect, useState } from "react";
import {
  PROVIDERS, STATUS, accountLabel, accountName, connectUrl, integrations, outcome, outcomeText, test,
} from "./agenstack.js";

/** The three providers of one organization. `search` is the address's query, which tells how a connection ended. */
export function AgenStackConnections({ organization, search = "" }) {
  const [{ connections, wrong }, set] = useState({});
  useEffect(() => {
    let gone = false;
    set({});
    integrations(organization).then(
      (connections) => gone || set({ connections }),
      (error) => gone || set({ wrong: error.message }),
    );
    return () => { gone = true; };
  }, [organization]);

  if (wrong) return <p className="notice bad" role="alert">{wrong}</p>;
  if (!connections) return <p className="quiet">Loading …</p>;
  const ended = outcome(search);
  return (
    <>
      {ended && (
        <p className={ended.ok ? "notice good" : "notice bad"} role={ended.ok ? "status" : "alert"}>{outcomeText(ended)}</p>
      )}
      <div className="cards">
        {PROVIDERS.map((provider) => (
          <Card key={provider.id} organization={organization} provider={provider}
            mine={connections.filter((it) => it.provider === provider.id && it.status !== "disconnected")} />
        ))}
      </div>
    </>
  );
}

function Card({ organization, provider, mine }) {
  const connect = <Connect organization={organization} provider={provider} first={mine.length === 0} />;
  // The worst of several accounts is what has to be seen.
  const status = ["needs_reconnect", "paused", "connected"].find((one) => mine.some((it) => it.status === one)) ?? "disconnected";
  return (
    <section className="card" data-provider={provider.id}>
      <div className="card-head"><h2>{provider.title}</h2><span className="badge" data-status={status}>{STATUS[status]}</span></div>
      <p className="purpose">{provider.purpose}</p>
      {mine.length > 0 && (
        <ul className="accounts">{mine.map((it) => <Account key={it.id} organization={organization} it={it} />)}</ul>
      )}
      {mine.length === 0 ? connect : <details><summary>Connect another, or again</summary>{connect}</details>}
    </section>
  );
}

function Account({ organization, it }) {
  const [{ asking, found }, set] = useState({});
  const ask = () => {
    set({ asking: true, found: "Asking …" });
    test(organization, it.id).then(({ message }) => set({ found: message }), (error) => set({ found: error.message }));
  };
  return (
    <li>
      <div className="account">
        <strong>{accountLabel(it)}</strong>
        {it.last_error && <p className="reason">{it.last_error.message}</p>}
        <p className="found" role="status">{found}</p>
      </div>
      <button type="button" className="test" aria-label={`Test ${accountLabel(it)}`} disabled={asking} onClick={ask}>Test</button>
    </li>
  );
}

function Connect({ organization, provider, first }) {
  const { field } = provider;
  const [typed, type] = useState("");
  const [wrong, setWrong] = useState(false);
  const go = (event) => {
    event.preventDefault();
    const name = field ? accountName(field, typed) : "";
    setWrong(name === null);
    if (name === null) return event.currentTarget.elements[field.name].focus();
    location.assign(connectUrl(provider.id, organization, field ? { [field.name]: name } : {}));
  };
  return (
    <form noValidate onSubmit={go}>
      {field && (
        <label>
          <span className="label">{field.label}</span>
          <span className="with-ending">
            <input name={field.name} value={typed} onChange={(event) => type(event.target.value)} aria-invalid={wrong}
              autoComplete="off" autoCapitalize="none" spellCheck={false} required />
            <span className="ending">{field.ending}</span>
          </span>
        </label>
      )}
      {wrong && <p className="wrong" role="alert">{`Give the name that stands before ${field.ending}.`}</p>}
      <button className={first ? "connect primary" : "connect"}>{`Connect ${provider.title}`}</button>
    </form>
  );
}
