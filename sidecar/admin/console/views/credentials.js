import { badge, code } from "../dom.js";
import { table } from "../table.js";
import { when } from "../words.js";

export const title = "Credentials";

const KINDS = { active: "good", expired: "warn", undecryptable: "bad" };

export async function show(panel, { api, attempt }) {
  await attempt(async () => {
    const { credentials } = await api.get("/api/api-credentials");
    panel.append(
      table({
        caption: "Credentials",
        columns: [
          { title: "Organization", cell: (each) => each.organization },
          { title: "Provider", cell: (each) => each.provider },
          { title: "Name", cell: (each) => each.name },
          { title: "State", cell: (each) => badge(each.state, KINDS[each.state]) },
          { title: "Ends in", cell: (each) => code(`…${each.last_four}`) },
          { title: "Fingerprint", cell: (each) => code(each.fingerprint) },
          { title: "Expires", cell: (each) => when(each.expires_at) },
        ],
        rows: credentials,
        empty: "No credential is stored.",
      }),
    );
  });
}
