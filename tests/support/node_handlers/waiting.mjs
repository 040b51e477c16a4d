const waited = await Promise.resolve("top-level await");
export const handler = async () => waited;
