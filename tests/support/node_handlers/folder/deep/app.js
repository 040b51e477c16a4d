exports.handler = async () => __filename.slice(-17);
