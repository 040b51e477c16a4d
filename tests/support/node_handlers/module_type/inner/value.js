export const value = "by type module";
