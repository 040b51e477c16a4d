export const handler = async (event) => ({ module: import.meta.url.endsWith("esm.mjs"), event });
export default { by_default: async () => "default" };
