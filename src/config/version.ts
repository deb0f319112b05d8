/** Version of this coordinator; a test holds it to package.json. Semantic: the wire contract and the configuration break only with the first number. */
export const coordinatorVersion = "0.1.0";
