/** Where the value of a setting was given. */
export type Place =
  | { readonly kind: "file"; readonly file: string; readonly line: number | undefined; readonly key: string }
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

/** Where the value of a setting comes from. */
export type Source = Place | { readonly kind: "default" };

/** Something that is wrong with the configuration, or worth saying about it. `message` holds no secret. */
export type Remark = { readonly place: Source; readonly message: string };

/** For people, in the form that editors and terminals make clickable: "coordinator.toml:14 server.grpc_port". */
export function describePlace(place: Source): string {
  switch (place.kind) {
    case "file":
      return `${place.file}${place.line === undefined ? "" : `:${place.line}`} ${place.key}`.trimEnd();
    case "env":
      return `environment ${place.name}`;
    case "flag":
      return `flag ${place.name}`;
    default:
      return "default";
  }
}

/** One line: where, then what. */
export function describeRemark(remark: Remark): string {
  return `${describePlace(remark.place)}: ${remark.message}`;
}
