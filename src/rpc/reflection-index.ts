import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { assert } from "../platform/assert.js";

/** One file of the image: its exact bytes, and what is asked about it. */
type IndexedFile = { readonly bytes: Uint8Array; readonly dependencies: readonly string[] };

/** Where every name of an image is declared. Full names, without a leading dot. */
export type ReflectionIndex = {
  readonly files: ReadonlyMap<string, IndexedFile>;
  /** Messages, fields, oneofs, enums, enum values, extensions, services and methods, each with its file's name. */
  readonly symbols: ReadonlyMap<string, string>;
  /** Messages only. */
  readonly messages: ReadonlySet<string>;
  /** By extended message: field number to file name. */
  readonly extensions: ReadonlyMap<string, ReadonlyMap<number, string>>;
};

/**
 * Indexes the files of a FileDescriptorSet. The bytes of each file are kept as they are: decoding and encoding again could lose what this runtime does
 * not know, and reflection is for tools that may know it.
 */
export function indexImage(image: Uint8Array): ReflectionIndex {
  const files = new Map<string, IndexedFile>();
  const symbols = new Map<string, string>();
  const messages = new Set<string>();
  const extensions = new Map<string, Map<number, string>>();
  for (const bytes of splitFiles(image)) {
    const file = fromBinary(FileDescriptorProtoSchema, bytes);
    files.set(file.name, { bytes, dependencies: file.dependency });
    for (const name of namesOf(file)) symbols.set(name, file.name);
    for (const name of messageNamesOf(file)) messages.add(name);
    for (const extension of extensionsOf(file)) {
      const extendee = extension.extendee.replace(/^\./, "");
      const numbers = extensions.get(extendee) ?? new Map<number, string>();
      extensions.set(extendee, numbers.set(extension.number, file.name));
    }
  }
  return { files, symbols, messages, extensions };
}

/** A file and all it imports, directly or not: the file first, each once. */
export function withImports(index: ReflectionIndex, fileName: string): readonly Uint8Array[] {
  const wanted = new Set([fileName]);
  // A Set visits what is added to it on the way.
  for (const name of wanted) for (const dependency of index.files.get(name)?.dependencies ?? []) wanted.add(dependency);
  return [...wanted].flatMap((name) => index.files.get(name)?.bytes ?? []);
}

/** The encoded FileDescriptorProtos of a FileDescriptorSet: its field 1, repeated. */
function splitFiles(image: Uint8Array): readonly Uint8Array[] {
  const reader = new BinaryReader(image);
  const files: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    assert(number === 1 && wireType === WireType.LengthDelimited, "an image is a FileDescriptorSet");
    files.push(reader.bytes());
  }
  return files;
}

function qualify(scope: string, name: string): string {
  return scope === "" ? name : `${scope}.${name}`;
}

function* namesOf(file: FileDescriptorProto): Generator<string> {
  for (const message of file.messageType) yield* namesInMessage(file.package, message);
  for (const declared of file.enumType) yield* namesInEnum(file.package, declared);
  for (const extension of file.extension) yield qualify(file.package, extension.name);
  for (const service of file.service) {
    const name = qualify(file.package, service.name);
    yield name;
    for (const method of service.method) yield qualify(name, method.name);
  }
}

function* namesInMessage(scope: string, message: DescriptorProto): Generator<string> {
  const name = qualify(scope, message.name);
  yield name;
  for (const member of [...message.field, ...message.oneofDecl, ...message.extension]) yield qualify(name, member.name);
  for (const nested of message.nestedType) yield* namesInMessage(name, nested);
  for (const declared of message.enumType) yield* namesInEnum(name, declared);
}

/** An enum's values are siblings of the enum, not its children: they share its scope, as in C++. */
function* namesInEnum(scope: string, declared: EnumDescriptorProto): Generator<string> {
  yield qualify(scope, declared.name);
  for (const value of declared.value) yield qualify(scope, value.name);
}

function* messageNamesOf(
  parent: FileDescriptorProto | DescriptorProto,
  scope = "package" in parent ? parent.package : "",
): Generator<string> {
  for (const message of "messageType" in parent ? parent.messageType : parent.nestedType) {
    const name = qualify(scope, message.name);
    yield name;
    yield* messageNamesOf(message, name);
  }
}

function* extensionsOf(parent: FileDescriptorProto | DescriptorProto): Generator<FieldDescriptorProto> {
  yield* parent.extension;
  for (const message of "messageType" in parent ? parent.messageType : parent.nestedType) yield* extensionsOf(message);
}
