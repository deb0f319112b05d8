import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { limits } from "../platform/limits.js";

/** As many of `messages`, from the first, as `limits.pageMaxBytes` hold; one always. What comes after them is not asked for. */
export function pageOf<D extends DescMessage>(schema: D, messages: Iterable<MessageShape<D>>): readonly MessageShape<D>[] {
  const page: MessageShape<D>[] = [];
  let bytes = 0;
  for (const message of messages) {
    bytes += toBinary(schema, message).byteLength;
    if (page.length > 0 && bytes > limits.pageMaxBytes) break;
    page.push(message);
  }
  return page;
}
