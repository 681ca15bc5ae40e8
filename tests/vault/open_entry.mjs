// Reads tests/vectors/vault.json from stdin and opens it with Node's crypto, after FORMAT.md alone.
import { createDecipheriv, createHmac, pbkdf2Sync } from "node:crypto";
import { readFileSync } from "node:fs";

const { entries, refused } = JSON.parse(readFileSync(0, "utf8"));

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

function password({ secret, variable }) {
  return variable === "JWT_SECRET" ? hmac(secret, "sidecar vault: master secret from JWT_SECRET") : Buffer.from(secret);
}

function keyId(entry) {
  const root = pbkdf2Sync(password(entry), "sidecar vault: root", 600000, 32, "sha256");
  return hmac(root, "key id").subarray(0, 8);
}

function lengthAndText(text) {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function open(envelope, row, secret, ids) {
  if (!/^scv[12]:[A-Za-z0-9_-]+$/.test(envelope) || envelope.endsWith("\n")) throw new Error("refused");
  const bytes = Buffer.from(envelope.slice(5), "base64url");
  if (`scv${bytes[3]}:${bytes.toString("base64url")}` !== envelope) throw new Error("refused");
  if (bytes.length < 61 || bytes.length > 65536) throw new Error("refused");
  const format = bytes[3];
  if (!bytes.subarray(0, 5).equals(Buffer.from(`SCV${String.fromCharCode(format)}\x01`, "latin1"))) throw new Error("refused");
  const iterations = bytes.readUInt32BE(5);
  if (iterations < 100000 || iterations > 5000000) throw new Error("refused");
  if (!bytes.subarray(9, 17).equals(ids)) throw new Error("refused");
  const key = pbkdf2Sync(password(secret), bytes.subarray(17, 33), iterations, 32, "sha256");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(33, 45), { authTagLength: 16 });
  const version = Buffer.alloc(format === 2 ? 8 : 0);
  if (format === 2) version.writeBigUInt64BE(BigInt(row.version));
  const names = [row.organization, row.credential, row.provider].map(lengthAndText);
  decipher.setAAD(Buffer.concat([bytes.subarray(0, 45), ...names, version]));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(45, -16)), decipher.final()]).toString();
}

const ids = entries.map(keyId);
const opened = entries.map((entry, i) => open(entry.envelope, entry, entry, ids[i]));
let count = 0;
for (const entry of refused) {
  try {
    open(entry.envelope, entry, entries[0], ids[0]);
  } catch {
    count += 1;
  }
}
process.stdout.write(JSON.stringify({ opened, key_ids: ids.map((id) => id.toString("hex")), refused: count }));
