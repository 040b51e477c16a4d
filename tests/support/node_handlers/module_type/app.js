import { value } from "./inner/value.js";
export const handler = async () => value;
