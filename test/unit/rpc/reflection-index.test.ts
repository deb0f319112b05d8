import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { answerReflection } from "../../../src/rpc/reflection.js";
import { indexImage, withImports } from "../../../src/rpc/reflection-index.js";

const base = create(FileDescriptorProtoSchema, {
  name: "base.proto",
  package: "base",
  messageType: [
    {
      name: "Outer",
      field: [{ name: "id", number: 1 }],
      oneofDecl: [{ name: "choice" }],
      nestedType: [{ name: "Inner", enumType: [{ name: "Kind", value: [{ name: "KIND_ONE" }] }] }],
    },
  ],
});
const middle = create(FileDescriptorProtoSchema, { name: "middle.proto", dependency: ["base.proto"] });
const top = create(FileDescriptorProtoSchema, {
  name: "top.proto",
  dependency: ["middle.proto", "base.proto"],
  messageType: [{ name: "Bare", extension: [{ name: "nested_note", number: 101, extendee: ".base.Outer" }] }],
  extension: [{ name: "note", number: 100, extendee: ".base.Outer" }],
  service: [{ name: "Top", method: [{ name: "Do" }] }],
});
const index = indexImage(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [top, base, middle] })));

describe("the index of an image", () => {
  it("knows every name, enum values beside their enum, and files without a package", () => {
    expect([...index.symbols].filter(([, file]) => file === "base.proto").map(([name]) => name)).toEqual([
      "base.Outer",
      "base.Outer.id",
      "base.Outer.choice",
      "base.Outer.Inner",
      "base.Outer.Inner.Kind",
      "base.Outer.Inner.KIND_ONE",
    ]);
    expect([...index.symbols].filter(([, file]) => file === "top.proto").map(([name]) => name)).toEqual([
      "Bare",
      "Bare.nested_note",
      "note",
      "Top",
      "Top.Do",
    ]);
  });

  it("gives a file's bytes as they were, with its imports, each once", () => {
    expect(withImports(index, "top.proto").map((bytes) => Buffer.from(bytes))).toEqual(
      [top, middle, base].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file))),
    );
  });

  it("refuses bytes that are no FileDescriptorSet", () => {
    expect(() => indexImage(Buffer.from([0x10, 0x01]))).toThrow("FileDescriptorSet");
  });
});

describe("reflection", () => {
  it("finds extensions, declared in a file or in a message", () => {
    expect(answerReflection(index, [], { case: "allExtensionNumbersOfType", value: "base.Outer" })).toMatchObject({
      value: { extensionNumber: [100, 101] },
    });
    const request = { $typeName: "grpc.reflection.v1.ExtensionRequest" as const, containingType: "base.Outer", extensionNumber: 101 };
    const answer = answerReflection(index, [], { case: "fileContainingExtension", value: request });
    expect(answer).toMatchObject({ case: "fileDescriptorResponse", value: { fileDescriptorProto: { length: 3 } } });
  });

  it("answers a question of a newer protocol as invalid", () => {
    expect(answerReflection(index, [], { case: undefined })).toMatchObject({ case: "errorResponse", value: { errorCode: 3 } });
  });
});
