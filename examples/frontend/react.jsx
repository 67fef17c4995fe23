// A page around the component: who is signed in, and for which organization.

import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { AgenStackConnections } from "./AgenStackConnections.jsx";
import { chosenOrganization, me } from "./agenstack.js";

function Page() {
  const [{ who, wrong, org }, set] = useState({});
  useEffect(() => {
    me().then(
      (who) => set({ who, org: who && chosenOrganization(location.pathname, who.organizations) }),
      (error) => set({ wrong: error.message }),
    );
  }, []);

  if (wrong) return <p className="notice bad" role="alert">{wrong}</p>;
  if (who === undefined) return <p className="quiet">Loading …</p>;
  if (who === null) {
    return (
      <div className="card">
        <p className="purpose">Sign in to see what is connected.</p>
        <a className="button primary" href={`/login?next=${encodeURIComponent(location.pathname)}`}>Sign in</a>
      </div>
    );
  }
  if (!org) return <p className="notice bad" role="alert">You belong to no organization yet.</p>;
  return (
    <>
      {who.organizations.length > 1 && (
        <label className="chooser">
          Organization
          <select value={org} onChange={(event) => set({ who, org: event.target.value })}>
            {who.organizations.map((it) => <option key={it.id} value={it.id}>{it.name}</option>)}
          </select>
        </label>
      )}
      <AgenStackConnections organization={org} search={location.search} />
    </>
  );
}

createRoot(document.getElementById("connections")).render(<Page />);
