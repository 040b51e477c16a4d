package com.amazonaws.services.lambda.runtime.logging;

public enum LogFormat {
    JSON,
    TEXT
}
