/** A URL of Postgres. Several hosts may be given, with commas between. */
export const postgresUrlPattern = /^postgres(?:ql)?:\/\/(?:[^@/?#]*@)?(?<hosts>[^/?#@]*)(?<database>\/[^?#]*)?(?:\?[^#]*)?$/;

/** What to do about a password that breaks the URL that it stands in: the usual reason why one cannot be read. */
export const escapeHint = "with @ / ? # and % in user and password written as %40 %2F %3F %23 and %25";

/** Whether the driver can read it: hosts and ports that are some, user and password that can be decoded. */
export function isPostgresUrl(text: string): boolean {
  const hosts = postgresUrlPattern.exec(text)?.groups?.hosts;
  if (hosts === undefined || !hosts.split(",").every((host) => URL.canParse(`postgres://${host}/`))) return false;
  return isReadable(text.replace(hosts, hosts.split(",")[0] ?? ""));
}

/** The same for `redis://` and `rediss://`. */
export function isRedisUrl(text: string): boolean {
  return /^rediss?:\/\/\S+$/.test(text) && isReadable(text) && new URL(text).hash === "";
}

function isReadable(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    // Failure becomes the answer: a "%" that begins no escape.
    return false;
  }
}
